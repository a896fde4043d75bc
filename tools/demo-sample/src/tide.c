/* tide.c - the height of the water at a given hour. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double metres(double hour)
{
	const double period = 12.42, turn = 2 * 3.14159265358979 / period;

	return 2.1 + 1.4 * sin(turn * hour + 0.6);
}

int main(int argc, char **argv)
{
	double hour = argc > 1 ? strtod(argv[1], NULL) : 0;

	printf("%.1f h: %.2f m\n", hour, metres(hour));
	return 0;
}
