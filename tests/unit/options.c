/*
 * Options: each case is a command line (words parted by blanks), what the environment and two files hold, and the exit
 * code and words that must come of it.  options_parse() exits by itself, so it runs in a child.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../libcommon/config/options.h"
#include "../../libcommon/io/publish.h"
#include <cmocka.h>     /* after error.h: its fail() is a macro */

static struct {
	bool unet_only, bucket;
	enum option_switch checkpointing;
	long rank, steps, size[2], tokens;
	double rate;
	const char *vae, *name, *precision, *resume, *model, *private, *module;
	struct text_list args, lora;
} s;

static const struct option table[] = {
	{ .kind = OPTION_SECTION, .help = "Adapter" },
	{ "rank", 'r', OPTION_INT, &s.rank, "N", "rank of the adapter", .fallback = "16", .min = 1, .max = 4096,
	  .key = "network_dim" },
	{ "network-train-unet-only", 'u', OPTION_FLAG, &s.unet_only, NULL, "leave the text encoders alone" },
	{ "max-train-steps", 's', OPTION_INT, &s.steps, "N", "optimizer steps", .fallback = "1600", .min = 1,
	  .max = 1e9 },
	{ "bucket", 'b', OPTION_FLAG, &s.bucket, NULL, "one size for all pictures", .fallback = "true",
	  .key = "enable_bucket" },
	{ "gradient-checkpointing", 'g', OPTION_SWITCH, &s.checkpointing, "[auto]", "less memory" },
	{ .kind = OPTION_SECTION, .help = "Others" },
	{ "learning-rate", 'l', OPTION_NUMBER, &s.rate, "X", "learning rate", .fallback = "2e-6", .min = 0,
	  .max = 100 },
	{ "resolution", 0, OPTION_SIZE, &s.size, "N|W,H", "area of a bucket", .fallback = "1024", .min = 8,
	  .max = 65536 },
	{ "max-token-length", 0, OPTION_INT, &s.tokens, "N", "tokens", .fallback = "75", .choices = "75|150|225" },
	{ "vae", 0, OPTION_STRING, &s.vae, "PATH", "another VAE", .advanced = true },
	{ "model", 'm', OPTION_STRING, &s.model, "MODEL", "base model", .key = "pretrained_model_name_or_path" },
	{ "output-name", 'n', OPTION_STRING, &s.name, "NAME", "name", .fallback = "last" },
	{ "save-precision", 0, OPTION_CHOICE, &s.precision, "TYPE", "number format", .choices = "float|fp16|bf16" },
	{ "resume", 0, OPTION_STRING, &s.resume, "[STATE|auto]", "go on from a state" },
	{ "network-args", 0, OPTION_LIST, &s.args, "K=V", "further settings", .advanced = true },
	{ "lora", 0, OPTION_LIST, &s.lora, "[N:]FILE", "adapters", .key = "" },
	{ "private", 0, OPTION_STRING, &s.private, "X", "not in files", .key = "" },
	{ "network-module", 0, OPTION_STRING, &s.module, "NAME", "kind",
	  .refused = (const struct option_refusal[]){ { "no.such", "not there" }, { 0 } } },
	{ 0 },
};
static const struct tool tool = { "lora-x", "[options] FILE...", "Try the options.", table, .takes_config = true };
static const struct tool plain = { "lora-y", "[options]", "Try the options.", table, .exits = "More on exits." };

static char folder[] = "/tmp/test-options-XXXXXX";

struct outcome {
	int code;
	struct buffer out, err;
};

/* What the parse left behind, one `name=value` a line. */
static void show(int n, char **argv)
{
	printf("rank=%ld unet=%d steps=%ld bucket=%d rate=%g size=%ldx%ld\n", s.rank, s.unet_only, s.steps, s.bucket,
	       s.rate, s.size[0], s.size[1]);
	printf("vae=%s name=%s precision=%s resume=%s model=%s\n", s.vae ? s.vae : "-", s.name ? s.name : "-",
	       s.precision ? s.precision : "-", s.resume ? s.resume : "-", s.model ? s.model : "-");
	if (s.checkpointing)
		printf("checkpointing=%d\n", s.checkpointing);
	for (size_t i = 0; i < s.args.count; i++)
		printf("arg=%s\n", s.args.item[i]);
	for (size_t i = 0; i < s.lora.count; i++)
		printf("lora=%s\n", s.lora.item[i]);
	for (int i = 0; i < n; i++)
		printf("operand=%s\n", argv[i]);
	printf("origin=%s set=%d\n", option_origin("rank"), option_is_set("rank"));
}

static int split(char *line, char **argv)
{
	int n = 0;

	for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
		argv[n++] = strcmp(word, "''") ? word : "";
	argv[n] = NULL;
	return n;
}

static void put_file(const char *name, const char *text)
{
	struct error e;

	if (publish_bytes(name, text, strlen(text), &e))
		fail_msg("%s", e.text);
}

static void run_child(const struct tool *t, const char *line)
{
	char *copy = xstrdup(line), *argv[64];
	int argc = split(copy, argv);
	int out = open("out", O_CREAT | O_TRUNC | O_WRONLY, 0600);
	int err = open("err", O_CREAT | O_TRUNC | O_WRONLY, 0600);

	dup2(out, 1);
	dup2(err, 2);
	int n = options_parse(t, argc, argv);
	show(n, argv);
	fflush(stdout);
	exit(0);
}

/* line begins with the tool's name; env is NAME=VALUE or NULL. */
static struct outcome run(const struct tool *t, const char *line, const char *env)
{
	struct outcome o = { 0 };
	struct error e;
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	if (!child) {
		if (env)
			putenv((char *)env);
		run_child(t, line);
	}
	waitpid(child, &status, 0);
	o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (read_file("out", 1 << 20, &o.out, &e) || read_file("err", 1 << 20, &o.err, &e))
		fail_msg("%s", e.text);
	buffer_adds(&o.out, "");
	buffer_adds(&o.err, "");
	return o;
}

static void free_outcome(struct outcome *o)
{
	buffer_free(&o->out);
	buffer_free(&o->err);
}

/* words: parts, separated by |, that must all occur in stdout (code 0) or stderr (any other code). */
static void expect(const char *line, const char *env, int code, const char *words)
{
	struct outcome o = run(&tool, line, env);
	char *copy = xstrdup(words), *save = NULL;
	const char *where = code ? o.err.data : o.out.data;

	for (char *w = strtok_r(copy, "|", &save); w; w = strtok_r(NULL, "|", &save))
		if (o.code != code || !strstr(where, w))
			fail_msg("'%s': exit %d, wanted %d and '%s' in\n%s%s", line, o.code, code, w, o.out.data,
				 o.err.data);
	if (code && o.out.len)
		fail_msg("'%s': a mistake must leave standard output empty, and it has\n%s", line, o.out.data);
	free(copy);
	free_outcome(&o);
}

static const struct command_case { const char *line; int code; const char *words; } command_cases[] = {
	{ "x", 0, "rank=16 unet=0 steps=1600 bucket=1 rate=2e-06 size=1024x1024|vae=- name=last precision=- "
		  "resume=-|origin=default set=0" },
	{ "x --rank 8 a b", 0, "rank=8|operand=a\noperand=b|origin=command line set=1" },
	{ "x a --rank=8 - b", 0, "rank=8|operand=a\noperand=-\noperand=b" },
	{ "x -r8", 0, "rank=8" },
	{ "x -r 8 -r 9", 0, "rank=9" },
	{ "x -ur8 c", 0, "rank=8 unet=1|operand=c" },
	{ "x -u -- -r 8", 0, "rank=16 unet=1|operand=-r\noperand=8" },
	{ "x --max_train_steps 20", 0, "steps=20" },
	{ "x --max-train_steps=20", 0, "steps=20" },
	{ "x --network_dim 4", 0, "rank=4" },
	{ "x --network-dim=4", 0, "rank=4" },
	{ "x --pretrained_model_name_or_path p", 0, "model=p" },
	{ "x --network_train_unet_only --no-network-train-unet-only", 0, "unet=0" },
	{ "x --no-bucket", 0, "bucket=0" },
	{ "x --no-enable_bucket", 0, "bucket=0" },
	{ "x --bucket=false", 0, "bucket=0" },
	{ "x --gradient-checkpointing a.tar", 0, "checkpointing=1\noperand=a.tar" },
	{ "x --gradient_checkpointing auto a.tar", 0, "checkpointing=2\noperand=a.tar" },
	{ "x -g auto", 0, "checkpointing=2" },
	{ "x -ug c", 0, "unet=1|checkpointing=1\noperand=c" },
	{ "x --gradient-checkpointing=auto --no-gradient-checkpointing", 0, "model=-\norigin" },
	{ "x --gradient-checkpointing=off", 0, "model=-\norigin" },
	{ "x --gradient-checkpointing=perhaps", 2, "--gradient-checkpointing: 'perhaps' does not fit; "
						   "give true, false or auto" },
	{ "x --learning-rate 1e-4", 0, "rate=0.0001" },
	{ "x --resolution 512", 0, "size=512x512" },
	{ "x --resolution 512.0", 0, "size=512x512" },
	{ "x --rank 1e2", 0, "rank=100" },
	{ "x --max-token-length 225.0 --rank 2", 0, "rank=2" },
	{ "x --max-token-length 77", 2, "--max-token-length: '77' does not fit; give one of 75, 150, 225" },
	{ "x --max-token-length 7", 2, "give one of 75, 150, 225" },
	{ "x --rank 8.5", 2, "--rank: '8.5' does not fit" },
	{ "x --resolution 1024,768", 0, "size=1024x768" },
	{ "x --save-precision FP16", 0, "precision=fp16" },
	{ "x --vae ''", 0, "vae=- " },
	{ "x --resume a.tar", 0, "resume=auto|operand=a.tar" },
	{ "x --resume state a.tar", 0, "resume=state|operand=a.tar" },
	{ "x --resume=state", 0, "resume=state" },
	{ "x --resume", 0, "resume=auto" },
	{ "x --resume -u", 0, "resume=auto|unet=1" },
	{ "x --network_args conv_dim=4 conv_alpha=1 a.tar", 0, "arg=conv_dim=4\narg=conv_alpha=1|operand=a.tar" },
	{ "x --lora a --lora b=c d=e", 0, "lora=a\nlora=b=c\noperand=d=e" },
	{ "x --steps 3 --rnak=8 --instance_data_dir x -r 4", 2,
	  "unknown options '--steps' (did you mean '--max-train-steps'?), '--rnak' (did you mean '--rank'?), "
	  "'--instance_data_dir' of diffusers' scripts (the key is train_data_dir, of other programs" },
	{ "x --lr 1", 2, "unknown option '--lr'; did you mean '--learning-rate'? (try --help)" },
	{ "x --optimizer Prodigy", 2, "unknown option '--optimizer'; the key is optimizer_type" },
	{ "x --center_crop", 2, "unknown option '--center_crop' of diffusers' scripts; "
				"pictures are always cut in the middle" },
	{ "x --train_text_encoder", 2, "diffusers" },
	{ "x --clip_l a --t5xxl b", 2, "--clip_l: this is a configuration of sd-scripts for FLUX or SD3" },
	{ "x --qwen3=a", 2, "for Anima" },
	{ "x --apply_t5_attn_mask --blocks_to_swap 18", 0, "rank=16" },
	{ "x --network-module no.such -r 9999", 2,
	  "command line: network_module 'no.such' is not supported: not there" },
	{ "x --network-module No.Such --network-module networks.lora", 0, "rank=16" },
	{ "x --rnak 8", 2, "unknown option '--rnak'; did you mean '--rank'? (try --help)" },
	{ "x --qqqqqqqqqq", 2, "unknown option '--qqqqqqqqqq'; try --help" },
	{ "x -z", 2, "unknown option '-z'; try --help" },
	{ "x --no-rank", 2, "unknown option '--no-rank'" },
	{ "x --rank", 2, "--rank needs a value; write --rank N" },
	{ "x -r", 2, "-r needs a value; write -r N" },
	{ "x --lora", 2, "--lora needs a value; write --lora [N:]FILE" },      /* the N: may be left out, not all */
	{ "x --rank 0", 2, "--rank: '0' does not fit; give a whole number from 1 to 4096" },
	{ "x --rank 4097", 2, "--rank: '4097' does not fit" },
	{ "x --rank 8x", 2, "--rank: '8x' does not fit" },
	{ "x --rank ''", 2, "--rank: '' does not fit" },
	{ "x --rank 99999999999999999999", 2, "--rank: '99999999999999999999' does not fit" },
	{ "x --learning-rate nan", 2, "--learning-rate: 'nan' does not fit; give a number from 0 to 100" },
	{ "x --learning-rate 1e999", 2, "--learning-rate: '1e999' does not fit" },
	{ "x --save-precision fp8", 2, "--save-precision: 'fp8' does not fit; give one of float, fp16, bf16" },
	{ "x --save-precision fp", 2, "--save-precision: 'fp' does not fit" },
	{ "x --resolution 1024,", 2, "--resolution: '1024,' does not fit; give N or \"W,H\"" },
	{ "x --resolution 1024,4", 2, "--resolution: '1024,4' does not fit" },
	{ "x --bucket=perhaps", 2, "--bucket: 'perhaps' does not fit; give true or false" },
	{ "x --no-bucket=1", 2, "--no-bucket takes no value; leave out '=1'" },
	{ "x --help=some", 2, "--help: 'some' does not fit; write --help, or --help= and all, completion-bash, "
	  "completion-zsh or completion-fish" },
	{ "x --version", 0, "lora-x (lora-tools) 0.1.0, " },
	{ "x --config", 2, "--config needs a value" },
	{ "x --config nowhere.toml", 2, "nowhere.toml" },
};

static void command_lines(void **state)
{
	for (size_t i = 0; i < sizeof(command_cases) / sizeof(*command_cases); i++)
		expect(command_cases[i].line, NULL, command_cases[i].code, command_cases[i].words);
}

static const struct file_case { const char *text; int code; const char *words; } file_cases[] = {
	{ "network_dim = 8", 0, "rank=8|origin=a.toml:1 set=1" },
	{ "[lora_arguments]\n\nnetwork_dim = 8\n[x]\nlearning_rate = 1", 0, "rank=8|rate=1|origin=a.toml:3" },
	{ "network_dim = \"8\"\nlearning_rate = \"1e-4\"\nenable_bucket = \"False\"", 0,
	  "rank=8|rate=0.0001|bucket=0" },
	{ "gradient_checkpointing = true", 0, "checkpointing=1" },
	{ "gradient_checkpointing = \"auto\"", 0, "checkpointing=2" },
	{ "gradient_checkpointing = false", 0, "model=-\norigin" },
	{ "gradient_checkpointing = 0.5", 2,
	  "gradient_checkpointing: a fraction does not fit; give true, false or auto" },
	{ "resolution = 512", 0, "size=512x512" },
	{ "resolution = \"1024,768\"", 0, "size=1024x768" },
	{ "resolution = [1024, 768]", 0, "size=1024x768" },
	{ "network_args = [\"a=1\", \"b=2\"]", 0, "arg=a=1\narg=b=2" },
	{ "network_args = \"a=1\"", 0, "arg=a=1" },
	{ "network_args = [\" a=1 \", \"b=2\"]", 0, "arg=a=1\narg=b=2" },
	{ "network_args = []", 0, "vae=-" },
	{ "vae = []\nnetwork_dim = []\nresolution = []\nenable_bucket = []\nsave_precision = []\nlearning_rate = []", 0,
	  "rank=16|bucket=1|vae=-|precision=-|origin=default set=0" },
	{ "network_dim = 32.0\nresolution = [512.0, 640.0]", 0, "rank=32|size=512x640" },
	{ "network_dim = \" 32.0 \"\nlearning_rate = \"1e-4 \"\nsave_precision = \"fp16 \"", 0,
	  "rank=32|rate=0.0001|precision=fp16" },
	{ "output_name = \" a \"\nvae = \" 1e-4 \"", 0, "vae=1e-4 name= a |" },
	{ "network_dim = \"2.5\"", 2, "network_dim: '2.5' does not fit; give a whole number" },
	{ "network_dim = inf", 2, "network_dim: 'inf' does not fit" },
	{ "vae = \"\"\nnetwork_args = \"\"\nnetwork_dim = \"\"\nresume = false", 0,
	  "vae=-|rank=16|resume=-|origin=default set=0" },
	{ "output_name = 12", 0, "name=12" },
	{ "pretrained_model_name_or_path = 'p'", 0, "model=p" },
	{ "model = 'p'", 0, "model=p" },
	{ "train_batch_size = 2\nseed = 4", 0, "rank=16" },           /* ours, of another tool */
	{ "color_aug = false\nnoise_offset = 0.0\nloss_type = 'l2'\nmax_timestep = 1000\nsample_prompts = ''", 0,
	  "rank=16" },
	{ "logging_dir = ''", 0, "rank=16" },
	{ "network_dmi = 8", 2, "a.toml:1: unknown key 'network_dmi'; did you mean 'network_dim'?" },
	{ "\nqqqqqqqqqqqqqqqqqq = 8", 2, "a.toml:2: unknown key 'qqqqqqqqqqqqqqqqqq'; remove the line" },
	{ "private = 'x'", 2, "unknown key 'private'" },
	{ "network_dim = 0", 2, "a.toml:1: network_dim: '0' does not fit; give a whole number from 1 to 4096" },
	{ "network_dim = 1.5", 2, "a.toml:1: network_dim: a fraction does not fit; give a whole number" },
	{ "network_dim = true", 2, "network_dim: true or false does not fit" },
	{ "network_dim = [1]", 2, "network_dim: an array does not fit" },
	{ "learning_rate = inf", 2, "learning_rate: 'inf' does not fit" },
	{ "learning_rate = 1979-05-27", 2, "learning_rate: a date does not fit" },
	{ "enable_bucket = 0.5", 2, "enable_bucket: a fraction does not fit; give true or false" },
	{ "vae = true", 2, "vae: true or false does not fit; give a text in quotes" },
	{ "vae = \"a\\u0000b\"", 2, "vae: the text holds a NUL" },
	{ "network_args = [1]", 2, "network_args: a whole number does not fit" },
	{ "resolution = [1, 2, 3]", 2, "resolution: an array does not fit" },
	{ "fp8_base = true", 0, "rank=16" },
	{ "max_token_length = 225", 0, "rank=16" },
	{ "dataset_config = 'x'", 0, "rank=16" },
	{ "v2 = true", 2, "a.toml:1: 'v2' is refused: Stable Diffusion 2 is not known here; remove the line" },
	{ "[a.b]\nnetwork_dim = 8", 2, "a.toml:1: the table 'b' stands inside another" },
	{ "network_dim = \n", 2, "a.toml:1: column 15: a value is missing" },
	{ "[general]\nx = 1\n[[datasets]]\n[training]\nnetwork_dim = 16", 0, "rank=16" },
	{ "[[dataset]]\nx = 1\n", 2, "a.toml:1: this is a dataset config of an early sd-scripts" },
	{ "[general_args.args]\nx = 1\n", 2, "Easy Training Scripts" },
	{ "dit = 'x'\ndiscrete_flow_shift = 3\n", 2, "a.toml:1: this is a file of musubi-tuner" },
	{ "[a]\ndiscrete_flow_shift = 3\n", 2, "a.toml:2: this is a configuration of sd-scripts for a flow model such "
					       "as FLUX" },
	{ "clip_l = ''\nt5xxl = ''\nqwen3 = ''", 0, "rank=16" },
	{ "t5xxl = 'x'", 2, "a.toml:1: this is a configuration of sd-scripts for FLUX or SD3" },
	{ "[x]\nqwen3 = 'x'\ndiscrete_flow_shift = 3.0\nlora_rank = 32", 2,
	  "a.toml:2: this is a configuration of sd-scripts for Anima" },
	{ "model_train_type = 'flux-lora'", 2, "a.toml:1: this is a configuration of lora-scripts for FLUX" },
	{ "model_train_type = 'sdxl-lora'", 0, "rank=16" },
	{ "network_module = 'networks.lora_flux'", 2, "a.toml:1: this is a configuration of sd-scripts for FLUX" },
	{ "epochs = 3\nnetwork_dim = 0\n[x]\nsteps = 4\nadam_beta1 = 1\nfoo_bar_baz_x = 1\nrank = 3\n", 2,
	  "a.toml:1: unknown keys 'epochs' (did you mean 'max_train_epochs'?), 'steps' (line 4; "
	  "did you mean 'max_train_steps'?), 'adam_beta1' of diffusers' scripts (line 5; "
	  "write optimizer_args = [\"betas=0.9,0.999\"]), 'foo_bar_baz_x' (line 6), 'rank' (line 7; "
	  "did you mean 'network_dim'?); remove the line" },
	{ "network_module = 'no.such'\nnetwork_dim = 100000", 2,
	  "a.toml:1: network_module 'no.such' is not supported: not there" },
	{ "network_dim = 100000\nnetwork_module = 'no.such'", 2,
	  "a.toml:2: network_module 'no.such' is not supported: not there" },
	{ "micro_batch_size_per_gpu = 1\n", 2, "diffusion-pipe" },
	{ "[model]\ntype = 'flux'\n", 2, "diffusion-pipe" },
	{ "[prompt]\nwidth = 1\n[[prompt.subset]]\n", 2, "this is a prompt file" },
	{ "LoRA_type = 'Standard'\n", 2, "kohya_ss GUI" },
};

static void configuration_files(void **state)
{
	for (size_t i = 0; i < sizeof(file_cases) / sizeof(*file_cases); i++) {
		put_file("a.toml", file_cases[i].text);
		expect("x --config a.toml", NULL, file_cases[i].code, file_cases[i].words);
	}
}

static void notes_are_said_once(void **state)
{
	static const char *const said[] = {
		"a.toml:1: 'xformers' is ignored: attention",
		"a.toml:2: 'epoch' is no key of sd-scripts and is ignored: ",
		"a.toml:5: network_dim = 9 replaces 8 of line 4\n",
	};
	struct outcome o;

	put_file("a.toml", "xformers = true\nepoch = 3\nlowram = false\nnetwork_dim = 8\nnetwork_dim2.x = 1\n");
	put_file("a.toml", "xformers = true\nepoch = 3\nlowram = false\n[a]\nnetwork_dim = 8\n[b]\nnetwork_dim = 9\n");
	put_file("a.toml", "xformers = true\nepoch = 3\nlowram = false\na.network_dim = 8\nb.network_dim = 9\n"
			   "c.network_dim = 9\n");
	o = run(&tool, "x --config a.toml --config a.toml", NULL);
	assert_int_equal(o.code, 0);
	for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++) {
		const char *first = strstr(o.err.data, said[i]);
		if (!first)
			fail_msg("'%s' is not in\n%s", said[i], o.err.data);
		if (i < 2)
			assert_null(strstr(first + 1, said[i]));
	}
	assert_null(strstr(o.err.data, "lowram"));      /* off asks for nothing */
	assert_null(strstr(o.err.data, "a.toml:6:"));   /* equal values need no word */
	free_outcome(&o);
	o = run(&tool, "x -q --config a.toml", NULL);
	assert_int_equal(o.err.len, 0);
	free_outcome(&o);
}

static void stronger_sources_win(void **state)
{
	put_file("a.toml", "network_dim = 8\nlearning_rate = 1\nnetwork_args = ['a=1']\nvae = 'v'");
	put_file("b.toml", "network_dim = 9\nnetwork_args = ['b=1', 'c=1']\nvae = ''");
	expect("x --config a.toml --config b.toml", NULL, 0, "rank=9|rate=1|vae=-|\narg=b=1\narg=c=1\norigin=b.toml:1");
	expect("x --config=b.toml --config_file a.toml", NULL, 0, "rank=8|vae=v|\narg=a=1\norigin=a.toml:1");
	expect("x --config a.toml", "LORA_NETWORK_DIM=10", 0, "rank=10|rate=1|origin=LORA_NETWORK_DIM set=1");
	expect("x -r 11 --config a.toml", "LORA_NETWORK_DIM=10", 0, "rank=11|origin=command line");
	expect("x --network-args z=1 --network-args y=1 --config a.toml", "LORA_NETWORK_ARGS=q=1", 0,
	       "\narg=z=1\narg=y=1\norigin");
	expect("x", "LORA_NETWORK_DIM=", 0, "rank=16");
	expect("x", "LORA_NETWORK_DIM=x", 2, "LORA_NETWORK_DIM: 'x' does not fit; give a whole number from 1 to 4096");
	expect("x", "LORA_PRIVATE=x", 0, "rank=16");
}

static const struct { const char *env, *said; } variables[] = {
	{ "LORA_NETWORK_DMI=8", "warning: the environment variable LORA_NETWORK_DMI is no setting of any program here; "
				"did you mean LORA_NETWORK_DIM?\n" },
	{ "LORA_RANK=8", "LORA_RANK is no setting of any program here; did you mean LORA_NETWORK_DIM?\n" },
	{ "LORA_QQQQQQQQQQQQQQ=8", "LORA_QQQQQQQQQQQQQQ is no setting of any program here, see lora-config(5)\n" },
	{ "LORA_XFORMERS=1", "LORA_XFORMERS is ignored: attention" },
	{ "LORA_QQQQQQQQQQQQQQ=", NULL },
	{ "LORA_TRAIN_BATCH_SIZE=2", NULL },            /* of another tool */
	{ "LORA_CUDA=/x.so", NULL },
	{ "LORA_NETWORK_DIM=2", NULL },
};

static void variables_of_no_tool_are_named(void **state)
{
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
		struct outcome o = run(&tool, "x -q", variables[i].env);
		if (o.code || (variables[i].said ? !strstr(o.err.data, variables[i].said) : o.err.len))
			fail_msg("%s: exit %d\n%s", variables[i].env, o.code, o.err.data);
		free_outcome(&o);
		o = run(&plain, "y", variables[i].env);
		assert_int_equal(o.err.len, 0);
		free_outcome(&o);
	}
	expect("x", "LORA_MODEL=m", 0, "model=m");      /* another spelling of the key */
}

static void tools_without_files_take_none(void **state)
{
	struct outcome o = run(&plain, "y --config a.toml", NULL);

	assert_int_equal(o.code, 2);
	assert_non_null(strstr(o.err.data, "unknown option '--config'"));
	free_outcome(&o);
	o = run(&plain, "y", "LORA_NETWORK_DIM=3");
	assert_non_null(strstr(o.out.data, "rank=16"));
	free_outcome(&o);
}

static void check_width(const char *text)
{
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
		if (strcspn(line, "\n") > 80)
			fail_msg("wider than 80 columns: %s", line);
}

static int count_lines(const char *text)
{
	int lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

/* A table of 60 options whose words are long: the screen's size still holds. */
static void help_of_a_large_table_fits_too(void **state)
{
	static struct option many[61];
	static bool flags[60];
	static const struct tool large = { "lora-z", "[options]", "Try many.", many, .takes_config = true };
	struct outcome o;

	for (int i = 0; i < 60; i++)
		many[i] = (struct option){ xprintf("option-number-%d-with-a-long-name", i), 0, OPTION_FLAG, &flags[i],
					   NULL, "words that go on and on, further than any line of eighty columns "
						 "could reach" };
	o = run(&large, "z --help", NULL);
	check_width(o.out.data);
	assert_true(count_lines(o.out.data) <= 24);
	assert_non_null(strstr(o.out.data, " more with --help=all)\n"));
	free_outcome(&o);
	o = run(&large, "z --help=all", NULL);
	check_width(o.out.data);
	assert_non_null(strstr(o.out.data, "--option-number-59-with"));
	free_outcome(&o);
	for (int i = 0; i < 60; i++)
		free((char *)many[i].name);
}

static void help_fits_a_terminal(void **state)
{
	struct outcome o = run(&tool, "x --help --rnak", NULL);

	assert_int_equal(o.code, 0);
	assert_true(count_lines(o.out.data) <= 24);
	check_width(o.out.data);
	assert_non_null(strstr(o.out.data, "Usage: lora-x [options] FILE...\nTry the options.\n"));
	assert_non_null(strstr(o.out.data, "\n  -r, --rank N                   rank of the adapter (16)\n"));
	assert_non_null(strstr(o.out.data, "\n  -b, --no-bucket                one size"));
	assert_null(strstr(o.out.data, "--vae"));
	assert_null(strstr(o.out.data, "Exit codes"));
	assert_non_null(strstr(o.out.data, "--help[=all]"));
	free_outcome(&o);
	o = run(&plain, "y --help=all", NULL);
	check_width(o.out.data);
	assert_non_null(strstr(o.out.data, "\nAdapter\n"));
	assert_non_null(strstr(o.out.data, "--vae PATH"));
	assert_non_null(strstr(o.out.data, "; a whole number"));
	assert_non_null(strstr(o.out.data, "Exit codes"));
	assert_non_null(strstr(o.out.data, "More on exits."));
	assert_null(strstr(o.out.data, "--config"));
	free_outcome(&o);
	o = run(&tool, "x -h", NULL);
	assert_int_equal(o.code, 0);
	free_outcome(&o);
}

/* What --print-config writes is a configuration that gives the same values, of which only the origins differ. */
static void printed_configuration_reads_back(void **state)
{
	struct outcome first, second;

	put_file("a.toml", "vae = \"q\\\"u\\\\o\\u0001te\"\nnetwork_args = ['a=1', 'b=\"']\nresolution = '64,48'\n"
			   "learning_rate = 0.1\n");
	first = run(&tool, "x --config a.toml -u --no-bucket --print-config", "LORA_MAX_TRAIN_STEPS=7");
	assert_int_equal(first.code, 0);
	assert_non_null(strstr(first.out.data, "network_dim = 16  # default\n"));
	assert_non_null(strstr(first.out.data, "vae = \"q\\\"u\\\\o\\u0001te\"  # a.toml:1\n"));
	assert_non_null(strstr(first.out.data, "network_args = [\"a=1\", \"b=\\\"\"]  # a.toml:2\n"));
	assert_non_null(strstr(first.out.data, "resolution = \"64,48\"  # a.toml:3\n"));
	assert_non_null(strstr(first.out.data, "learning_rate = 0.1  # a.toml:4\n"));
	assert_non_null(strstr(first.out.data, "max_train_steps = 7  # LORA_MAX_TRAIN_STEPS\n"));
	assert_non_null(strstr(first.out.data, "enable_bucket = false  # command line\n"));
	assert_non_null(strstr(first.out.data, "save_precision = \"\"  # default\n"));
	assert_null(strstr(first.out.data, "private"));
	put_file("b.toml", first.out.data);
	second = run(&tool, "x --config b.toml --print-config", NULL);
	if (second.code)
		fail_msg("%s", second.err.data);
	assert_int_equal(second.err.len, 0);
	const char *a = first.out.data, *b = second.out.data;
	for (; *a && *b; a += strcspn(a, "\n") + 1, b += strcspn(b, "\n") + 1) {
		size_t n = (size_t)(strstr(a, "  # ") - a);
		assert_memory_equal(a, b, n + 4);
	}
	assert_true(!*a && !*b);
	free_outcome(&first);
	free_outcome(&second);
}

static int enter_folder(void **state)
{
	return !mkdtemp(folder) || chdir(folder);
}

static int leave_folder(void **state)
{
	static const char *const files[] = { "out", "err", "a.toml", "b.toml" };

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		unlink(files[i]);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(command_lines),
		cmocka_unit_test(configuration_files),
		cmocka_unit_test(notes_are_said_once),
		cmocka_unit_test(stronger_sources_win),
		cmocka_unit_test(variables_of_no_tool_are_named),
		cmocka_unit_test(tools_without_files_take_none),
		cmocka_unit_test(help_fits_a_terminal),
		cmocka_unit_test(help_of_a_large_table_fits_too),
		cmocka_unit_test(printed_configuration_reads_back),
	};

	return cmocka_run_group_tests_name("options", tests, enter_folder, leave_folder);
}
