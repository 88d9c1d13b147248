/* A warning of LORA_ variables that no program reads: a misspelt one would otherwise be ignored without a word. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "known_keys.h"
#include "options_private.h"

/* Of the backends, of several ranks and of parts, not settings. */
static const char *const others[] = { "cuda", "cuda_graphs", "cuda_guard", "cpu", "mpi", "nccl", "shards" };

static bool is_other(const char *key)
{
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (!strcmp(others[i], key))
			return true;
	return false;
}

/* "network_dim" of "LORA_NETWORK_DIM=8"; malloced, NULL: another variable, or an empty one */
static char *key_of(const char *variable)
{
	size_t n = strcspn(variable, "=");
	char *key;

	if (strncmp(variable, "LORA_", 5) || !variable[n] || !variable[n + 1])
		return NULL;
	key = xstrndup(variable + 5, n - 5);
	for (char *c = key; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return key;
}

static void tell_unknown(const struct tool *tool, const char *variable, const char *key)
{
	char *meant = meant_key(tool, key);

	for (char *c = meant; c && *c; c++)
		*c = (char)toupper((unsigned char)*c);
	warning("the environment variable %.*s is no setting of any program here%s%s%s", (int)strcspn(variable, "="),
		variable, meant ? "; did you mean LORA_" : ", see lora-config(5)", meant ? meant : "",
		meant ? "?" : "");
	free(meant);
}

void options_check_environment(const struct tool *tool)
{
	for (char **variable = environ; *variable; variable++) {
		char *key = key_of(*variable);
		const struct known_key *k = key ? known_key(key) : NULL;
		if (key && !k && !is_other(key) && !option_by_key(tool, key))
			tell_unknown(tool, *variable, key);
		else if (k && k->class != KEY_OURS)
			warning("the environment variable %.*s is ignored: %s", (int)strcspn(*variable, "="), *variable,
				k->say);
		free(key);
	}
}
