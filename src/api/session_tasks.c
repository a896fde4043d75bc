/* session_tasks.c - questions and log lines on their way to the thread that waits in tl_connect,
 * and answers on their way back. */
#include <stdlib.h>
#include <string.h>

#include "api/session_own.h"

void task_free(struct own_task *t)
{
	list_del(&t->node);
	free(t->text);
	if (t->answer)
		explicit_bzero(t->answer, strlen(t->answer));
	free(t->answer);
	free(t);
}

struct own_task *task_put(struct session_own *o, int level, const char *text)
{
	struct own_task *t = o->task_count < OWN_TASKS ? calloc(1, sizeof(*t)) : NULL;

	if (!t)
		return NULL;
	t->level = level;
	t->text = str_dup(text);
	list_add_tail(&o->tasks, &t->node);
	o->task_count++;
	pthread_cond_broadcast(&o->changed);
	return t;
}

/* Passwords and passphrases are asked for once, however many logins an attempt needs; one-time
 * codes are new each time. */
static bool is_lasting(const struct own_task *t)
{
	return t->kind == TL_PROMPT_PASSPHRASE || t->kind == TL_PROMPT_PASSWORD;
}

static char *known_answer(struct session_own *o, const struct own_task *t, int login)
{
	for (size_t i = 0; i < o->n_answers && t->attempt == 1 && is_lasting(t); i++) {
		struct own_answer *a = &o->answers[i];
		if (a->login < login && a->kind == t->kind && t->text &&
		    strcmp(a->text, t->text) == 0)
			return str_dup(a->answer);
	}
	return NULL;
}

static void answer_fini(struct own_answer *a)
{
	if (a->answer)
		explicit_bzero(a->answer, strlen(a->answer));
	free(a->answer);
	free(a->text);
	*a = (struct own_answer){0};
}

static void keep_answer(struct session_own *o, const struct own_task *t, const char *answer,
			int login)
{
	size_t i = 0;

	if (!answer || !is_lasting(t) || !t->text)
		return;
	while (i < o->n_answers &&
	       (o->answers[i].kind != t->kind || strcmp(o->answers[i].text, t->text) != 0))
		i++;
	if (i == OWN_ANSWERS)
		return;
	if (i < o->n_answers)
		answer_fini(&o->answers[i]);
	else
		o->n_answers++;
	o->answers[i] = (struct own_answer){
	    .login = login, .kind = t->kind, .text = str_dup(t->text), .answer = str_dup(answer)};
	if (!o->answers[i].text || !o->answers[i].answer) {
		answer_fini(&o->answers[i]);
		o->answers[i] = o->answers[--o->n_answers];
	}
}

/* Runs one task without the lock; called with it. */
static void run_task(struct session_own *o, struct own_task *t)
{
	struct tl_session *s = o->session;
	char *answer = NULL;
	int login = o->login;

	list_del(&t->node);
	o->task_count--;
	if (t->level < 0 && !t->prompt) {
		task_free(t);
		return;
	}
	t->taken = true;
	list_add_tail(&o->asked, &t->node);
	pthread_mutex_unlock(&o->lock);
	if (t->level >= 0)
		session_log(s, t->level, "%s", t->text ? t->text : "");
	else if (!(answer = known_answer(o, t, login))) {
		session_prompt(s, t->kind, t->text ? t->text : "", t->attempt, &answer);
		keep_answer(o, t, answer, login);
	}
	pthread_mutex_lock(&o->lock);
	if (t->level >= 0 || t->kind == TL_PROMPT_TOUCH) {
		if (answer)
			explicit_bzero(answer, strlen(answer));
		free(answer);
		task_free(t);
		return;
	}
	t->answer = answer;
	t->taken = false;
	wake_send(&o->wake);
}

int task_wait_up(struct session_own *o, struct tl_err *err)
{
	int rc = 0;

	pthread_mutex_lock(&o->lock);
	while (o->state == OWN_CONNECTING || !list_empty(&o->tasks)) {
		if (list_empty(&o->tasks))
			pthread_cond_wait(&o->changed, &o->lock);
		else
			run_task(o, list_entry(o->tasks.next, struct own_task, node));
	}
	while (o->n_answers)
		answer_fini(&o->answers[--o->n_answers]);
	if (o->state == OWN_LOST) {
		*err = o->why;
		rc = o->why.code;
	}
	pthread_mutex_unlock(&o->lock);
	return rc;
}
