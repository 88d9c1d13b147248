/* Colour profiles: ICC to sRGB through lcms, a row at a time. */
#include <lcms2.h>
#include <stdlib.h>
#include "image_internal.h"

struct colour {
	cmsHTRANSFORM transform;
};

static const struct { cmsColorSpaceSignature space; cmsUInt32Number narrow, wide; } formats[] = {
	[PIXELS_GREY] = { cmsSigGrayData, TYPE_GRAY_8, TYPE_GRAY_16 },
	[PIXELS_GREY_ALPHA] = { cmsSigGrayData, TYPE_GRAYA_8, TYPE_GRAYA_16 },
	[PIXELS_RGB] = { cmsSigRgbData, TYPE_RGB_8, TYPE_RGB_16 },
	[PIXELS_RGBA] = { cmsSigRgbData, TYPE_RGBA_8, TYPE_RGBA_16 },
	[PIXELS_CMYK] = { cmsSigCmykData, TYPE_CMYK_8, TYPE_CMYK_16 },
};

/* Most profiles in the wild are some sRGB: applying one would only add rounding errors of one level. */
static bool means_srgb(cmsHPROFILE profile, cmsHPROFILE srgb)
{
	cmsHTRANSFORM t = cmsCreateTransform(profile, TYPE_RGB_8, srgb, TYPE_RGB_8, INTENT_PERCEPTUAL, 0);
	bool same = t != NULL;

	for (int i = 0; t && i < 6 * 6 * 6; i++) {
		uint8_t in[3] = { (uint8_t)(i % 6 * 51), (uint8_t)(i / 6 % 6 * 51), (uint8_t)(i / 36 * 51) }, out[3];
		cmsDoTransform(t, in, out, 1);
		for (int c = 0; c < 3; c++)
			same = same && abs(in[c] - out[c]) <= 1;
	}
	if (t)
		cmsDeleteTransform(t);
	return same;
}

/* 16-bit pixels go unoptimised: lcms would put a linear profile through a 33-point table, which is off by tens of
 * levels in the shadows. */
static cmsHTRANSFORM transform_of(cmsHPROFILE profile, cmsHPROFILE srgb, enum pixels p, int depth)
{
	if (cmsGetColorSpace(profile) != formats[p].space)
		return NULL;
	if (formats[p].space == cmsSigRgbData && means_srgb(profile, srgb))
		return NULL;
	return cmsCreateTransform(profile, depth == 16 ? formats[p].wide : formats[p].narrow, srgb, TYPE_RGB_8,
				  INTENT_PERCEPTUAL, depth == 16 ? cmsFLAGS_NOOPTIMIZE : 0);
}

struct colour *colour_open(const void *icc, size_t n, enum pixels p, int depth)
{
	cmsHPROFILE profile = icc && n ? cmsOpenProfileFromMem(icc, (cmsUInt32Number)n) : NULL, srgb;
	cmsHTRANSFORM transform = NULL;
	struct colour *c = NULL;

	if (!profile)
		return NULL;
	srgb = cmsCreate_sRGBProfile();
	if (srgb)
		transform = transform_of(profile, srgb, p, depth);
	if (transform) {
		c = xmalloc(sizeof(*c));
		c->transform = transform;
	}
	if (srgb)
		cmsCloseProfile(srgb);
	cmsCloseProfile(profile);
	return c;
}

void colour_row(struct colour *c, const void *row, uint8_t *rgb, int width)
{
	cmsDoTransform(c->transform, row, rgb, (cmsUInt32Number)width);
}

void colour_close(struct colour *c)
{
	if (!c)
		return;
	cmsDeleteTransform(c->transform);
	free(c);
}
