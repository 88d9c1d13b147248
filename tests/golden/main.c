/* golden - hold this project to PyTorch's numbers: golden [-d DEVICE] DIR...  (layout: tests/golden/README.md) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "subject.h"

static void check_model_folder(struct tally *t, const char *folder, const char *device)
{
	char *model = path_join(folder, "model"), *name = realpath(folder, NULL);
	struct subject s = { .label = strrchr(name, '/') + 1, .folder = folder, .tally = t };
	struct error e = { 0 };

	if (subject_open(&s, model, NULL, device, &e) < 0)
		failed(t, "%s: %s", folder, e.text);
	else
		check_model(&s);
	subject_close(&s);
	free(model);
	free(name);
}

static void check_folder(struct tally *t, const char *folder, const char *device)
{
	if (access(folder, R_OK | X_OK) < 0)
		die(EXIT_USAGE, "%s: no such folder", folder);
	if (exists(folder, "model"))
		check_model_folder(t, folder, device);
	else if (exists(folder, "captions.jsonl"))
		check_tokens(t, folder);
	else if (exists(folder, "effect.safetensors"))
		check_dialects(t, folder, device);
	else if (each_file(folder, "effect_*.safetensors", NULL, NULL) || each_file(folder, "train_*.safetensors", NULL,
		NULL))
		check_adapters(t, folder, device);
	else
		check_single_files(t, folder, device);
}

int main(int argc, char **argv)
{
	struct tally t = { 0 };
	const char *device = "cpu";
	int option;

	while ((option = getopt(argc, argv, "d:")) == 'd')
		device = optarg;
	if (option != -1 || optind == argc)
		die(EXIT_USAGE, "usage: golden [-d DEVICE] DIR...");
	t.coarse = strcmp(device, "cpu");
	quiet(1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (; optind < argc; optind++)
		check_folder(&t, argv[optind], device);
	printf("golden: %d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped);
	return t.failed || !t.passed ? EXIT_OTHER : EXIT_DONE;
}
