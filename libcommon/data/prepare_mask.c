/* Masks from a folder of their own (kohya's conditioning_data_dir). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../io/publish.h"
#include "prepare_mask.h"
#include "resample.h"

int mask_path(const char *dir, const char *picture, char **path, struct error *e)
{
	static const char *const extensions[] = { "png", "PNG", "jpg", "JPG", "jpeg", "JPEG", "webp", "WEBP", "bmp",
						  "BMP" };
	const char *slash = strrchr(picture, '/'), *name = slash ? slash + 1 : picture, *dot = strrchr(name, '.');
	int stem = dot && dot > name ? (int)(dot - name) : (int)strlen(name);

	for (size_t i = 0; i < sizeof(extensions) / sizeof(*extensions); i++) {
		struct stat st;
		int there;

		*path = xprintf("%s/%.*s.%s", dir, stem, name, extensions[i]);
		there = path_stat(*path, &st, e);
		if (there > 0 && S_ISREG(st.st_mode))
			return 0;
		free(*path);
		*path = NULL;
		if (there < 0)
			return -1;
	}
	return 0;
}

/* Equal ratios of sides, within two per cent: a mask made for a smaller copy has rounded sides. */
static bool same_shape(const struct image_info *mask, int width, int height)
{
	return fabs((double)mask->width * height / ((double)mask->height * width) - 1) < 0.02;
}

/* Works in strips: the mask in the picture's size, in colour, would take as much memory as the picture. */
static void take_red(const struct image *mask, struct image *image)
{
	enum { STRIP = 64 };
	const enum resample_filter filter = mask->width >= image->width ? RESAMPLE_AREA : RESAMPLE_BILINEAR;
	uint8_t *to;

	free(image->alpha);
	to = image->alpha = xmalloc((size_t)image->width * image->height);
	for (int top = 0; top < image->height; top += STRIP) {
		struct window strip = { 0, top, image->width,
					image->height - top < STRIP ? image->height - top : STRIP };
		struct image sized;

		resample(mask, image->width, image->height, filter, strip, &sized);
		for (size_t i = 0, n = (size_t)strip.width * strip.height; i < n; i++)
			*to++ = sized.rgb[3 * i];
		image_free(&sized);
	}
}

int mask_beside(const char *dir, const char *picture, int width, int height, struct image *image, struct error *e)
{
	const struct image_options black = { .background = { 0, 0, 0 } };
	char *path;
	struct image mask = { 0 };
	struct image_info info;
	int status = mask_path(dir, picture, &path, e);

	if (status == 0 && path)
		status = image_read(path, &black, &mask, &info, e);
	if (status < 0)
		fail_at(e, picture);
	else if (path && !same_shape(&info, width, height))
		status = fail(e, EXIT_INPUT, "%s: its mask %s has %dx%d pixels, another shape than %dx%d; make it anew",
			      picture, path, info.width, info.height, width, height);
	else if (path)
		take_red(&mask, image);
	if (!status && path)
		status = 1;
	image_free(&mask);
	free(path);
	return status;
}
