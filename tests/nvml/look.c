/* look BUS_ID [VISIBLE]: what cuda/nvml.c says of a card, a line each; "nothing" where it says nothing. */
#include <math.h>
#include <stdio.h>
#include "../../cuda/nvml.h"

int main(int argc, char **argv)
{
	static const char *const names[USE_FIGURES] = {
		"busy", "memory", "memory_most", "watts", "watts_most", "mhz", "mhz_most"
	};
	struct nvml *n = argc > 1 ? nvml_open(argv[1], argc > 2 ? argv[2] : NULL) : NULL;
	struct device_use now;

	if (!n) {
		puts("nothing");
		return 0;
	}
	nvml_look(n, &now);
	for (int i = 0; i < USE_FIGURES; i++)
		if (!isnan(now.figure[i]))
			printf("%s %.12g\n", names[i], now.figure[i]);
	if (now.slowed)
		printf("slowed %u\n", now.slowed);
	if (now.others)
		printf("others %d, %.12g bytes; %ld '%s'\n", now.others, now.others_bytes, now.other.pid,
		       now.other.name);
	nvml_close(n);
	return 0;
}
