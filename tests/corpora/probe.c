/*
 * probe image|tar FILE... - a line for each: path, tab, verdict ("accept WxH", "accept", "refuse CODE").
 * probe icc A B           - the mean difference of two pictures, of 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/io/image.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/io/tar.h"

static void probe_image(const char *path)
{
	struct buffer file = { 0 };
	struct image image = { 0 };
	struct image_info info = { 0 };
	struct error e = { 0 };

	if (read_file(path, 1 << 28, &file, &e) < 0)
		printf("%s\trefuse unreadable\n", path);
	else if (image_decode(path, file.data, file.len, NULL, &image, &info, &e) == 0)
		printf("%s\taccept %dx%d\n", path, image.width, image.height);
	else if (info.over_limit)
		printf("%s\trefuse bomb\n", path);
	else
		printf("%s\trefuse %s\n", path, image_type(file.data, file.len, NULL) ? "damaged" : "format");
	image_free(&image);
	buffer_free(&file);
}

static void probe_tar(const char *path)
{
	struct error e = { 0 };
	struct tar_sample s = { 0 };
	struct tar_reader *r = tar_open(path, NULL, &e);
	int status = -1;

	while (r && (status = tar_next(r, &s, &e)) == 1)
		;
	printf(status == 0 ? "%s\taccept\n" : "%s\trefuse\n", path);
	tar_close(r);
	tar_sample_free(&s);
}

static int probe_icc(const char *a, const char *b)
{
	struct image x, y;
	struct error e = { 0 };
	double sum = 0;

	if (image_read(a, NULL, &x, NULL, &e) < 0 || image_read(b, NULL, &y, NULL, &e) < 0)
		return report(&e);
	if (x.width != y.width || x.height != y.height)
		return puts("other sizes"), 1;
	for (int i = 0; i < x.width * x.height * 3; i++)
		sum += abs(x.rgb[i] - y.rgb[i]);
	printf("%.5f\n", sum / 255 / (x.width * x.height * 3));
	image_free(&x);
	image_free(&y);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "icc"))
		return probe_icc(argv[2], argv[3]);
	for (int i = 2; i < argc; i++)
		(strcmp(argv[1], "tar") ? probe_image : probe_tar)(argv[i]);
	return fflush(stdout) ? 4 : 0;
}
