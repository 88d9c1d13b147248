/* kohya's folder layout, junk, order, and how often regularisation pictures count. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/data/folder.h"
#include "../../libcommon/io/publish.h"
#include <cmocka.h>

static char root[] = "/tmp/folder.XXXXXX";

static const char *const files[] = {
	"k/10_gizmo robot/b.png",
	"k/10_gizmo robot/a.JPG",
	"k/10_gizmo robot/B.webp",
	"k/10_gizmo robot/a.txt",
	"k/10_gizmo robot/._a.JPG",
	"k/10_gizmo robot/Thumbs.db",
	"k/10_gizmo robot/sub/deep.png",
	"k/10_gizmo robot/notes.doc",
	"k/2_x_y/z.bmp",
	"k/0_none/q.png",
	"k/plain/p.png",
	"k/__MACOSX/m.png",
	"k/loose.png",
	"k/-5_minus/n.png",
	"k/10/r.png",
	"p/2.png",
	"p/10.png",
	"p/.hidden.png",
	"p/10_not_a_folder.png",
};

static void expect(const struct pictures *l, const char *const *names, size_t n)
{
	assert_int_equal(l->count, n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(l->picture[i].path + strlen(root) + 1, names[i]);
}

static void scan(struct pictures *l, const char *name, bool regularization)
{
	struct error e = { 0 };
	char *path = path_join(root, name);

	assert_int_equal(pictures_scan(path, regularization, l, &e), 0);
	free(path);
}

static void kohya_layout(void **state)
{
	static const char *const names[] = { "k/10_gizmo robot/B.webp", "k/10_gizmo robot/a.JPG",
					     "k/10_gizmo robot/b.png", "k/2_x_y/z.bmp" };
	struct pictures l = { 0 };

	scan(&l, "k//", false);
	pictures_sort(&l);
	expect(&l, names, 4);
	assert_int_equal(l.picture[0].repeats, 10);
	assert_string_equal(l.picture[0].class_tokens, "gizmo robot");
	assert_string_equal(l.picture[0].inside, "10_gizmo robot/B.webp");
	assert_int_equal(l.picture[3].repeats, 2);
	assert_string_equal(l.picture[3].class_tokens, "x_y");
	pictures_free(&l);
}

static void plain_layout(void **state)
{
	static const char *const names[] = { "p/10.png", "p/10_not_a_folder.png", "p/2.png", "p/magic" };
	struct pictures l = { 0 };
	struct error e;
	char *magic = path_join(root, "p/magic");

	assert_int_equal(publish_bytes(magic, "\x89PNG\r\n\x1a\n", 8, &e), 0);
	scan(&l, "p", false);
	pictures_sort(&l);
	expect(&l, names, 4);           /* a picture without extension is one by its content */
	assert_int_equal(l.picture[0].repeats, 1);
	assert_null(l.picture[0].class_tokens);
	assert_string_equal(l.picture[0].inside, "10.png");
	pictures_free(&l);
	unlink(magic);
	free(magic);
}

static void absent(void **state)
{
	struct pictures l = { 0 };
	struct error e = { 0 };

	assert_int_equal(pictures_scan("/nonexistent/pictures", false, &l, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	pictures_free(&l);
}

static void names(void **state)
{
	static const struct { const char *name; bool good; long repeats; const char *tokens;
	} table[] = { { "10_a", true, 10, "a" },       { "3_a_b", true, 3, "a_b" }, { "1_", true, 1, "" },
		      { "007_bond", true, 7, "bond" }, { "10", false, 0, NULL },    { "a_10", false, 0, NULL },
		      { "-1_a", false, 0, NULL },      { " 1_a", false, 0, NULL },  { "_a", false, 0, NULL },
		      { "1.5_a", false, 0, NULL },     { "", false, 0, NULL } };
	const char *tokens;
	long repeats;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(repeats_of_name(table[i].name, &repeats, &tokens), table[i].good);
		if (table[i].good) {
			assert_int_equal(repeats, table[i].repeats);
			assert_string_equal(tokens, table[i].tokens);
		}
	}
}

/* `train` samples, reg pictures that count `each`: repeats afterwards as kohya's register loop gives them. */
static void match(long train, size_t reg, long each, const long *expected, size_t kept)
{
	struct pictures l = { 0 };

	for (size_t i = 0; i <= reg; i++) {
		GROW(l.picture, l.count, l.capacity);
		l.picture[l.count++] = (struct picture){ xprintf("%03zu", i), NULL, NULL, i ? each : train, i > 0 };
	}
	pictures_match_regularization(&l);
	assert_int_equal(l.count, kept + 1);
	assert_int_equal(l.picture[0].repeats, train);
	for (size_t i = 0; i < kept; i++)
		assert_int_equal(l.picture[i + 1].repeats, expected[i]);
	pictures_free(&l);
}

static void regularization(void **state)
{
	match(10, 3, 1, (long[]){ 4, 3, 3 }, 3);
	match(10, 4, 2, (long[]){ 3, 3, 2, 2 }, 4);
	match(10, 3, 4, (long[]){ 4, 4, 4 }, 3);        /* 12 for 10: the third one is needed for the tenth */
	match(2, 3, 1, (long[]){ 1, 1 }, 2);            /* one too many: dropped */
	match(5, 0, 1, NULL, 0);
	match(3, 3, 1, (long[]){ 1, 1, 1 }, 3);
}

static int make_tree(void **state)
{
	struct error e;

	if (!mkdtemp(root))
		return -1;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char *path = path_join(root, files[i]), *slash = strrchr(path, '/');
		*slash = 0;
		assert_int_equal(make_folders(path, &e), 0);
		*slash = '/';
		assert_int_equal(publish_bytes(path, "", 0, &e), 0);
		free(path);
	}
	quiet(1);
	return 0;
}

static int remove_tree(void **state)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char *path = path_join(root, files[i]);
		unlink(path);
		for (char *slash; (slash = strrchr(path, '/')) && slash > path + 5;) {   /* up to /tmp/ */
			*slash = 0;
			if (rmdir(path) < 0)
				break;
		}
		free(path);
	}
	return access(root, F_OK) == 0 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(kohya_layout), cmocka_unit_test(plain_layout),
					    cmocka_unit_test(absent), cmocka_unit_test(names),
					    cmocka_unit_test(regularization) };
	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
