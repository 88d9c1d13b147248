/*
 * palette.c - does the demo's sheet show what it should?  palette SAMPLES PROMPTS
 *
 * Each pixel is given the nearest colour of the palette that the base model was trained on (demo/tiny-sdxl/README.md) and the robot's;
 * shares of the picture then decide.  A prompt that names the robot must show face, visor and orange with the adapter (NNNNN-SEED.png) and
 * must not without it (NNNNN-SEED-base.png); any other prompt must show its shape's and its background's colour in both.
 *
 * palette --count SAMPLES PROMPTS judges only, and prints "base N adapted M of K": pictures that are right without and with the adapter,
 * where a robot counts as right in both.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/io/image.h"
#include "../../libcommon/sample/prompts.h"

#define SUBJECT "gizmo robot"

enum { RED, GREEN, BLUE, YELLOW, PURPLE, ORANGE, WHITE, BLACK, FACE, VISOR, EAR, COLOURS };

static const struct { const char *name; int rgb[3]; } palette[COLOURS] = {
	{ "red", { 214, 48, 49 } }, { "green", { 39, 174, 96 } }, { "blue", { 41, 98, 255 } }, { "yellow", { 250, 211, 44 } },
	{ "purple", { 142, 68, 173 } }, { "orange", { 243, 128, 25 } }, { "white", { 245, 245, 245 } }, { "black", { 25, 25, 30 } },
	{ "face", { 255, 236, 200 } }, { "visor", { 0, 160, 160 } }, { "ear", { 255, 110, 40 } },
};

static int nearest(const uint8_t *p)
{
	int i, best = 0;
	long least = 1 << 30;

	for (i = 0; i < COLOURS; i++) {
		long d = 0;
		int k;
		for (k = 0; k < 3; k++)
			d += (long)(p[k] - palette[i].rgb[k]) * (p[k] - palette[i].rgb[k]);
		if (d < least) {
			least = d;
			best = i;
		}
	}
	return best;
}

static int shares(const char *path, double share[COLOURS])
{
	struct image_options o = { { 0 }, 0 };
	struct image image;
	struct error e;
	size_t i, n;

	if (image_read(path, &o, &image, NULL, &e) < 0)
		return report(&e);
	n = (size_t)image.width * image.height;
	memset(share, 0, COLOURS * sizeof(*share));
	for (i = 0; i < n; i++)
		share[nearest(image.rgb + 3 * i)] += 1.0 / n;
	image_free(&image);
	return 0;
}

/* Light parts of the robot that no background has: face and white together, since a few steps of training leave the cream pale. */
struct robot { double face, visor, ear; };

static struct robot robot_in(const double *share)
{
	return (struct robot){ share[FACE] + share[WHITE], share[VISOR], share[EAR] + share[ORANGE] + share[RED] };
}

/* A big robot covers a third of the picture, a small one a fourteenth; its parts about as the training pictures have them.  A small
 * robot's visor and ears are two or three pixels wide: its face decides, which no picture of the base model has. */
static bool shows_robot(const struct robot *r, bool big)
{
	return big ? r->face > 0.10 && r->visor > 0.02 && r->ear > 0.005 : r->face > 0.025;
}

static bool says(bool ok, const char *path, const char *what)
{
	printf("%s  %s: %s\n", ok ? "ok  " : "FAIL", strrchr(path, '/') + 1, what);
	return ok;
}

static int colour_at(const char *text, const char *before)
{
	int i;

	for (i = 0; i < FACE; i++) {
		char word[64];
		snprintf(word, sizeof(word), before, palette[i].name);
		if (strstr(text, word))
			return i;
	}
	return -1;
}

/* The prompt "a SIZE COLOUR SHAPE ... on a COLOUR background". */
static bool shows_prompt(const char *path, const char *text, const double *share)
{
	int background = colour_at(text, "on a %s background"), shape = -1, i;
	bool small = strstr(text, "small") != NULL;
	char what[160];
	double seen;

	for (i = 0; i < FACE && shape < 0; i++)
		if (i != background && strstr(text, palette[i].name))
			shape = i;
	if (background < 0 || shape < 0)
		return says(false, path, "the prompt names no shape and background of the palette");
	seen = share[shape] + (shape == YELLOW ? share[FACE] : 0);
	snprintf(what, sizeof(what), "%s shape %.1f %%, %s background %.1f %%", palette[shape].name, 100 * seen, palette[background].name,
		 100 * share[background]);
	return says(seen > (small ? 0.01 : 0.06) && share[background] > 0.4, path, what);
}

/* wanted: whether a robot shall be there */
static bool check(const char *folder, const struct prompt *p, int index, bool adapted, bool wanted)
{
	char *path = xprintf("%s/%05d-%llu%s.png", folder, index, (unsigned long long)p->seed, adapted ? "" : "-base");
	double share[COLOURS];
	bool ok = false;

	if (shares(path, share) == 0) {
		if (strstr(p->text, SUBJECT)) {
			struct robot r = robot_in(share);
			char what[160];
			snprintf(what, sizeof(what), "robot %s: face %.1f %%, visor %.1f %%, ears and antenna %.1f %%",
				 wanted ? "wanted" : "not wanted", 100 * r.face, 100 * r.visor, 100 * r.ear);
			ok = says(shows_robot(&r, strstr(p->text, "big") != NULL) == wanted, path, what);
		} else {
			ok = shows_prompt(path, p->text, share);
		}
	}
	free(path);
	return ok;
}

static int count(const char *folder, const struct prompt_list *l)
{
	int right[2] = { 0 }, i, k;

	for (i = 0; i < (int)l->count; i++)
		for (k = 0; k < 2; k++)
			right[k] += check(folder, &l->prompt[i], i, k, true);
	printf("base %d adapted %d of %zu\n", right[0], right[1], l->count);
	return 0;
}

static int judge(const char *folder, const struct prompt_list *l)
{
	int failed = 0, i;

	for (i = 0; i < (int)l->count; i++)
		failed += !check(folder, &l->prompt[i], i, false, false) + !check(folder, &l->prompt[i], i, true, true);
	printf("%d of %zu pictures are not what they should be\n", failed, 2 * l->count);
	return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct prompt_list prompts = { 0 };
	bool counts = argc == 4 && !strcmp(argv[1], "--count");
	struct error e;
	int result;

	if (argc != 3 && !counts)
		die(EXIT_USAGE, "usage: palette [--count] SAMPLES PROMPTS");
	if (prompts_read(argv[argc - 1], &prompts, &e) < 0)
		return report(&e);
	result = counts ? count(argv[2], &prompts) : judge(argv[1], &prompts);
	prompts_free(&prompts);
	return result;
}
