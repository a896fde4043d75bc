/* list.h - intrusive circular doubly linked list. A node belongs to the object that embeds it. */
#ifndef TL_BASE_LIST_H
#define TL_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

#define list_entry(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define LIST_FOREACH(it, head)        for (struct list *it = (head)->next; it != (head); it = it->next)
#define LIST_FOREACH_SAFE(it, head)                                                                \
	for (struct list *it = (head)->next, *it##_n = it->next; it != (head);                     \
	     it = it##_n, it##_n = it->next)

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
/* before l: at the tail when l is the head */
static inline void list_add_tail(struct list *l, struct list *n)
{
	n->prev = l->prev;
	n->next = l;
	l->prev->next = n;
	l->prev = n;
}
static inline void list_add_head(struct list *l, struct list *n)
{
	list_add_tail(l->next, n);
}
/* Safe on a node that is alone or already removed. */
static inline void list_del(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

#endif
