/* kernel_track.h - what a session is doing, derived from the messages that go by: busy or idle, the
 * running and the waiting executions, the question that waits for an answer, the open comms. An
 * engine: no descriptor, no clock. Everything in it is bounded. */
#ifndef TL_HOST_KERNEL_TRACK_H
#define TL_HOST_KERNEL_TRACK_H

#include "base/buf.h"
#include "base/list.h"
#include "wire/json.h"
#include "wire/jupyter_msg.h"

/* What it is busy with at one time: shell, control and subshells. */
#define KERNEL_TRACK_BUSY 64

struct kernel_track {
	/* ids of requests that are being worked on */
	char busy[KERNEL_TRACK_BUSY][JUPYTER_ID_MAX];
	size_t busy_count;
	struct list queue; /* of struct track_exec, in the order they were asked */
	size_t queue_count;
	struct list comms; /* of struct track_comm */
	size_t comm_count;
	char *kernel_info;                  /* content of kernel_info_reply, or NULL */
	char *input_header, *input_content; /* of the input_request that waits, or NULL */
	char input_id[JUPYTER_ID_MAX];
	uint64_t executions; /* begun since the session began */
	uint64_t changed_ms; /* last change between busy and idle */
	uint64_t active_ms;  /* last message of a user's */
	bool was_busy;
	bool cut; /* something did not fit */
};

void kernel_track_init(struct kernel_track *t, uint64_t now_ms);
void kernel_track_fini(struct kernel_track *t);
/* The process is gone or new: nothing runs, waits, asks or is open any more. */
void kernel_track_restart(struct kernel_track *t, uint64_t now_ms);
/* A viewer's message is about to be sent. false: do not send it (an answer to a question that has
 * got one already, or that nobody asked). */
bool kernel_track_sent(struct kernel_track *t, enum jupyter_channel c,
		       const struct jupyter_head *head, struct tl_bytes content, uint64_t now_ms);
/* The kernel sent a message; parent is its parent header. */
void kernel_track_received(struct kernel_track *t, enum jupyter_channel c,
			   const struct jupyter_head *head, const struct jupyter_head *parent,
			   struct tl_bytes header, struct tl_bytes content, uint64_t now_ms);
/* It works on something, or something waits. */
bool kernel_track_is_busy(const struct kernel_track *t);
/* Adds kernelInfo, running, queue, input, comms and cut to obj. false: no memory. */
bool kernel_track_put(const struct kernel_track *t, yyjson_mut_doc *d, yyjson_mut_val *obj);

#endif
