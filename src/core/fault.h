/* fault.h - planted faults, so that the simulation can prove that it would notice them.
 * In every other build FAULT() is the constant false and the compiler removes it. */
#ifndef TL_CORE_FAULT_H
#define TL_CORE_FAULT_H

enum core_fault {
	FAULT_NONE,
	FAULT_NO_REWIND,      /* resume goes on from where we were, not from what the peer has */
	FAULT_ACK_OFF_BY_ONE, /* acknowledges one byte more than arrived */
	FAULT_RING_FORGETS,   /* the ring drops bytes once they are sent */
	FAULT_STALE_INPUT,    /* half a frame of the old transport is kept for the new one */
	FAULT_CREDIT_TWICE,   /* credit is given on receipt and again on consumption */
	FAULT_DEAF_TO_CAP,    /* the cap on bytes in flight is ignored */
	FAULT_FIN_OVERTAKES,  /* FIN goes before queued bytes */
	FAULT_STALE_OUTPUT,   /* half a frame for the old transport goes to the new one */
	FAULT_RST_LOST,       /* a reset is not told to the peer */
	FAULT_COUNT,
};

#ifdef TL_FAULTS
extern enum core_fault core_fault; /* defined by the simulation */
#define FAULT(x) (core_fault == (x))
#else
#define FAULT(x) 0
#endif

#endif
