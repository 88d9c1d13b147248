/* Which folder of a Hugging Face cache a name means. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/memory.h"
#include "../base/retry.h"
#include "../io/claims.h"
#include "../io/publish.h"
#include "../io/safetensors.h"
#include "family.h"
#include "hub_files.h"

#define PREFIX "models--"

/* Letters, digits, "-_.", but neither ".." nor "--" (the cache writes "--" for the slash). */
static bool id_part(const char *s, size_t n)
{
	char before = '.';

	if (n < 1 || n > 96 || *s == '-')
		return false;
	for (size_t i = 0; i < n; i++) {
		bool repeated = s[i] == before && (s[i] == '.' || s[i] == '-');

		if (repeated || (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i])))
			return false;
		before = s[i];
	}
	return true;
}

bool hub_id(const char *text)
{
	const char *slash = strchr(text, '/');

	return slash && id_part(text, slash - text) && id_part(slash + 1, strlen(slash + 1));
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static char *cache_root(void)
{
	static const struct { const char *variable, *below; } places[] = {
		{ "HF_HUB_CACHE", "" }, { "HUGGINGFACE_HUB_CACHE", "" }, { "HF_HOME", "/hub" }, 
		{ "XDG_CACHE_HOME", "/huggingface/hub" }, { "HOME", "/.cache/huggingface/hub" },
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (variable(places[i].variable))
			return xprintf("%s%s", variable(places[i].variable), places[i].below);
	return xstrdup("/.cache/huggingface/hub");
}

/* refs/main holds the commit that the branch pointed to at the last download. */
static bool main_commit(const char *repository, char commit[65])
{
	char *path = xprintf("%s/refs/main", repository);
	struct buffer text = { 0 };
	struct error ignored;
	size_t n = 0;

	if (read_file(path, 4096, &text, &ignored) == 0)
		n = text.len < 64 ? text.len : 64;
	memcpy(commit, n ? text.data : "", n);
	buffer_free(&text);
	free(path);
	while (n && isspace((unsigned char)commit[n - 1]))
		n--;
	commit[n] = 0;
	for (size_t i = 0; i < n; i++)
		if (!isxdigit((unsigned char)commit[i]))
			return false;
	return n > 0;
}

static bool folder_at(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- what a folder holds ---- */

struct names { char **name; size_t count, capacity; };

static int plain_name(const struct dirent *d)
{
	return *d->d_name != '.';
}

/* alphasort() would go by the locale. */
static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In byte order; nothing where it cannot be read. */
static struct names names_in(const char *folder)
{
	struct names names = { 0 };
	struct dirent **entry;
	int n = RETRY(scandir(*folder ? folder : ".", &entry, plain_name, NULL));

	for (int i = 0; i < n; i++) {
		GROW(names.name, names.count, names.capacity);
		names.name[names.count++] = xstrdup(entry[i]->d_name);
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
	if (names.count)
		qsort(names.name, names.count, sizeof(*names.name), by_bytes);
	return names;
}

static void add_name(struct names *names, const char *name)
{
	GROW(names->name, names->count, names->capacity);
	names->name[names->count++] = xstrdup(name);
}

static void names_free(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->name[i]);
	free(names->name);
}

static int tell_several(const char *folder, const struct names *names, struct error *e)
{
	struct buffer list = { 0 };

	for (size_t i = 0; i < names->count && i < 5; i++)
		buffer_addf(&list, "%s%.100s", i ? ", " : "", names->name[i]);
	fail(e, EXIT_INPUT, "%s: %zu models are in it (%s%s); name one of them", folder, names->count, list.data,
	     names->count > 5 ? ", ..." : "");
	buffer_free(&list);
	return -1;
}

/* ---- a copy of a repository: DIR/models--ORG--NAME ---- */

static bool is_repository(const char *path)
{
	char *snapshots = xprintf("%s/snapshots", path);
	bool is = folder_at(snapshots);

	free(snapshots);
	return is;
}

/* The only one, where no branch says which; NULL: none, or several. */
static char *only_snapshot(const char *repository)
{
	char *folder = xprintf("%s/snapshots", repository), *path = NULL;
	struct names names = names_in(folder);

	if (names.count == 1)
		path = xprintf("%s/%s", folder, names.name[0]);
	names_free(&names);
	free(folder);
	return path;
}

static char *snapshot_of(const char *repository)
{
	char *main = xprintf("%s/refs/main", repository), *path = NULL;
	const bool branch = access(main, F_OK) == 0;
	char commit[65];

	if (branch && main_commit(repository, commit))
		path = xprintf("%s/snapshots/%s", repository, commit);
	free(main);
	return branch ? path : only_snapshot(repository);
}

/* "ORG/NAME" of "DIR/models--ORG--NAME", malloced. */
static char *id_of(const char *repository)
{
	const char *slash = strrchr(repository, '/'), *name = slash ? slash + 1 : repository, *dashes;

	if (!strncmp(name, PREFIX, strlen(PREFIX)))
		name += strlen(PREFIX);
	dashes = strstr(name, "--");
	return dashes ? xprintf("%.*s/%s", (int)(dashes - name), name, dashes + 2) : xstrdup(name);
}

struct search { enum hub_kind kind; unsigned needed; char **path; struct error *e; };

/* cache: for the command that fetches it; NULL: the local one.  rest: a file below, or NULL. */
static int take_copy(const struct search *s, const char *repository, const char *id, const char *root,
		     const char *cache, const char *rest)
{
	char *snapshot = snapshot_of(repository);
	/* a model, which has one */
	const bool whole = s->kind == HUB_VAE && snapshot && hub_has(snapshot, "vae/config.json");

	if (!snapshot || (!rest && !whole && !hub_is_whole(snapshot, s->kind, s->needed))) {
		hub_tell_missing(id, snapshot, root, cache, s->kind, s->needed, s->e);
		free(snapshot);
		return -1;
	}
	*s->path = rest ? xprintf("%s/%s", snapshot, rest) : snapshot;
	if (rest)
		free(snapshot);
	if (!rest || access(*s->path, R_OK) == 0)
		return 1;
	fail(s->e, EXIT_INPUT, "%s: the copy in %.150s has no %s; fetch it with: hf download %s %s%s%s", id, root, rest,
	     id, rest, cache ? " --cache-dir " : "", cache ? cache : "");
	free(*s->path);
	*s->path = NULL;
	return -1;
}

static int take_repository(const struct search *s, const char *repository, const char *rest)
{
	const char *slash = strrchr(repository, '/');
	char *id = id_of(repository), *root = slash ? xstrndup(repository, slash - repository) : xstrdup(".");
	int found = take_copy(s, repository, id, root, root, rest);

	free(id);
	free(root);
	return found;
}

/* ---- ORG/NAME in the local cache ---- */

static int find_id(const struct search *s, const char *id)
{
	int owner = strchr(id, '/') - id;
	char *root = cache_root(), *repository = xprintf("%s/" PREFIX "%.*s--%s", root, owner, id, id + owner + 1);
	int found = take_copy(s, repository, id, root, NULL, NULL);

	free(root);
	free(repository);
	return found;
}

/* ---- DIR/NAME and DIR/ORG/NAME, which are no folders ---- */

/* The repositories of a cache that are called so, whatever their owner. */
static struct names called(const char *cache, const char *name, size_t n)
{
	struct names all = names_in(cache), found = { 0 };

	for (size_t i = 0; i < all.count; i++) {
		const char *dashes = !strncmp(all.name[i], PREFIX, strlen(PREFIX)) ?
			strstr(all.name[i] + strlen(PREFIX), "--") : NULL;

		if (dashes && strlen(dashes + 2) == n && !strncmp(dashes + 2, name, n))
			add_name(&found, all.name[i]);
	}
	names_free(&all);
	return found;
}

static char *below(const char *folder, const char *name)
{
	return *folder ? xprintf("%s/%s", folder, name) : xstrdup(name);
}

static int find_called(const struct search *s, const char *cache, const char *name)
{
	const size_t n = strcspn(name, "/");
	struct names found = called(cache, name, n);
	char *repository = found.count == 1 ? below(cache, found.name[0]) : NULL;
	int status = 0;

	if (found.count > 1)
		status = tell_several(cache, &found, s->e);
	else if (repository)
		status = take_repository(s, repository, name[n] ? name + n + 1 : NULL);
	free(repository);
	names_free(&found);
	return status;
}

static int find_owned(const struct search *s, const char *cache, const char *name)
{
	const size_t owner = strcspn(name, "/"), n = name[owner] ? strcspn(name + owner + 1, "/") : 0;
	const char *rest = name[owner] && name[owner + 1 + n] ? name + owner + n + 2 : NULL;
	char *repository, *path;
	int status = 0;

	if (!n)
		return 0;
	repository = xprintf(PREFIX "%.*s--%.*s", (int)owner, name, (int)n, name + owner + 1);
	path = below(cache, repository);
	if (is_repository(path))
		status = take_repository(s, path, rest);
	free(repository);
	free(path);
	return status;
}

/* The longest beginning of the path that is a folder may be a cache. */
static int find_in_cache(const struct search *s, const char *named)
{
	size_t end = strlen(named), next;
	char *cache = NULL, *plain = xstrdup(named);
	const char *name;
	int status;

	while (end && plain[end - 1] == '/')
		plain[--end] = 0;
	for (next = end; next && plain[next - 1] != '/'; next--)
		;
	for (;;) {
		free(cache);
		cache = xstrndup(plain, next > 1 ? next - 1 : next);
		if (!next || folder_at(cache))
			break;
		for (next--; next && plain[next - 1] != '/'; next--)
			;
	}
	name = plain + next;
	status = find_owned(s, cache, name);
	if (!status)
		status = find_called(s, cache, name);
	free(cache);
	free(plain);
	return status;
}

/* ---- a folder with one model in it ---- */

static bool is_model(const char *folder, const char *name)
{
	char *path = below(folder, name), *snapshot = is_repository(path) ? snapshot_of(path) : NULL;
	const size_t n = strlen(name), k = strlen(".safetensors");
	bool is = hub_has(snapshot ? snapshot : path, "unet/config.json");

	if (!is && n > k && !strcmp(name + n - k, ".safetensors")) {
		struct error e;
		struct safetensors *s = safetensors_open(path, &e);
		const char *unet = s ? family_of_file(s)->prefix[COMPONENT_UNET] : NULL;

		for (size_t i = 0; s && i < s->count && !is; i++)
			is = !strncmp(s->tensor[i].name, unet, strlen(unet));
		safetensors_close(s);
	}
	free(snapshot);
	free(path);
	return is;
}

static int find_only_model(const struct search *s, const char *folder)
{
	struct names all = names_in(folder), models = { 0 };
	char *path = NULL;
	int status = 0;

	for (size_t i = 0; i < all.count; i++)
		if (is_model(folder, all.name[i]))
			add_name(&models, all.name[i]);
	if (models.count == 1)
		path = below(folder, models.name[0]);
	if (models.count > 1)
		status = tell_several(folder, &models, s->e);
	else if (path && is_repository(path))
		status = take_repository(s, path, NULL);
	else if (path)
		status = 1;
	if (status == 1 && !*s->path)
		*s->path = xstrdup(path);
	free(path);
	names_free(&all);
	names_free(&models);
	return status;
}

static char *without_slashes(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	return xstrndup(path, n);
}

static int find_in_folder(const struct search *s, const char *named)
{
	char *folder = without_slashes(named);
	int status = 0;

	if (is_repository(folder))
		status = take_repository(s, folder, NULL);
	else if (s->kind == HUB_MODEL && !hub_has(folder, "unet") && !hub_has(folder, "model_index.json"))
		status = find_only_model(s, folder);
	free(folder);
	return status;
}

int hub_find(const char *named, enum hub_kind kind, unsigned needed, char **path, struct error *e)
{
	const struct search s = { kind, needed, path, e };
	int status;

	*path = NULL;
	if (folder_at(named))
		return find_in_folder(&s, named);
	if (access(named, F_OK) == 0)
		return 0;
	status = find_in_cache(&s, named);
	if (!status && hub_id(named))
		status = find_id(&s, named);
	if (status != 1 || claim_input(*path, e) == 0)
		return status;
	free(*path);
	*path = NULL;
	return -1;
}
