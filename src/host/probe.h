/* probe.h - `towline-host probe`: facts about the host as one JSON line; touches nothing. */
#ifndef TL_HOST_PROBE_H
#define TL_HOST_PROBE_H

/* Exit status. */
int probe_main(int argc, char **argv);

#endif
