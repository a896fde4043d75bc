/* watch_changes.c - see watch_changes.h. A hash table over one block of text: no allocation per
 * path, and memory that goes back after each report. */
#include "host/watch_changes.h"

#include <stdlib.h>

#include "base/err.h"

static uint32_t hash_of(const char *p, size_t n)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * 16777619u;
	return h;
}

static struct change *changes_find(const struct changes *c, const char *p, size_t n, uint32_t hash)
{
	if (!c->buckets)
		return NULL;
	for (uint32_t i = c->bucket[hash & (c->buckets - 1)]; i; i = c->v[i - 1].next) {
		struct change *one = &c->v[i - 1];
		const char *text = c->text + one->text;
		if (one->hash == hash && !strncmp(text, p, n) && !text[n])
			return one;
	}
	return NULL;
}

static bool changes_rehash(struct changes *c, size_t buckets)
{
	uint32_t *bucket = calloc(buckets, sizeof(*bucket));
	if (!bucket)
		return false;
	free(c->bucket);
	c->bucket = bucket;
	c->buckets = buckets;
	for (uint32_t i = 0; i < c->n; i++) {
		uint32_t *head = &bucket[c->v[i].hash & (buckets - 1)];
		c->v[i].next = *head;
		*head = i + 1;
	}
	return true;
}

/* Room for one more change and n bytes of text. */
static bool changes_room(struct changes *c, size_t n)
{
	if (c->n >= CHANGES_MAX || n > CHANGES_TEXT_MAX - c->text_n)
		return false;
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 16;
		struct change *v = realloc(c->v, cap * sizeof(*v));
		if (!v)
			return false;
		c->v = v;
		c->cap = cap;
	}
	if (c->text_cap - c->text_n < n) {
		size_t cap = c->text_cap ? c->text_cap : 1024;
		while (cap - c->text_n < n)
			cap *= 2;
		char *text = realloc(c->text, cap);
		if (!text)
			return false;
		c->text = text;
		c->text_cap = cap;
	}
	return c->n < c->buckets || changes_rehash(c, c->buckets ? c->buckets * 2 : 32);
}

static void change_merge(struct change *one, enum change_kind kind)
{
	if (one->kind == CHANGE_ADDED && kind == CHANGE_DELETED)
		one->kind = CHANGE_NONE;
	else if (one->kind == CHANGE_DELETED && kind == CHANGE_ADDED)
		one->kind = CHANGE_UPDATED;
	else if (!(one->kind == CHANGE_ADDED && kind == CHANGE_UPDATED))
		one->kind = (uint8_t)kind;
}

void changes_add(struct changes *c, enum change_kind kind, const char *path)
{
	size_t n = strlen(path);
	uint32_t hash = hash_of(path, n);
	struct change *one = changes_find(c, path, n, hash);
	if (c->overflow)
		return;
	if (one) {
		change_merge(one, kind);
		return;
	}
	if (!changes_room(c, n + 1)) {
		changes_overflow(c);
		return;
	}
	uint32_t *head = &c->bucket[hash & (c->buckets - 1)];
	c->v[c->n] = (struct change){
	    .next = *head, .text = (uint32_t)c->text_n, .hash = hash, .kind = (uint8_t)kind};
	*head = (uint32_t)++c->n;
	memcpy(c->text + c->text_n, path, n + 1);
	c->text_n += n + 1;
}

void changes_overflow(struct changes *c)
{
	changes_clear(c);
	c->overflow = true;
}

bool changes_empty(const struct changes *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->v[i].kind != CHANGE_NONE)
			return false;
	return !c->overflow;
}

enum change_kind changes_at(const struct changes *c, size_t i, const char **ret_path)
{
	tl_assert(i < c->n);
	const char *path = c->text + c->v[i].text;
	*ret_path = path;
	if (c->v[i].kind != CHANGE_DELETED)
		return (enum change_kind)c->v[i].kind;
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t n = (size_t)(slash - path);
		const struct change *up = changes_find(c, path, n, hash_of(path, n));
		if (up && up->kind == CHANGE_DELETED)
			return CHANGE_NONE;
	}
	return CHANGE_DELETED;
}

void changes_clear(struct changes *c)
{
	free(c->v);
	free(c->bucket);
	free(c->text);
	*c = (struct changes){0};
}
