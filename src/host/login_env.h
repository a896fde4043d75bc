/* login_env.h - who this user is and the environment that programs of his own start with: that of
 * the login the agent came with, without what belonged to its terminal. An environment is a strv of
 * NAME=value. */
#ifndef TL_HOST_LOGIN_ENV_H
#define TL_HOST_LOGIN_ENV_H

#include "base/err.h"
#include "base/str.h"
#include "wire/json.h"

struct login {
	const char *user, *home, *shell; /* borrowed from the environment or the password file */
};

/* What the login gave, else the password file, else what always exists. Blocks on the latter. */
void login_of(struct login *who);
/* Adds our environment, without what belongs to other terminals, and with a PATH. 0, TL_E_NOMEM. */
int login_env(struct strv *env);
/* The folder a program starts in: cwd ("", "~" and NULL: home; relative: below home), or where that
 * is none home, or "/"; then notice is a sentence that says so. Both are the caller's; notice may
 * be NULL. 0, TL_E_NOMEM. */
int login_folder(const char *home, const char *cwd, char **ret_folder, char **ret_notice);
int env_set(struct strv *env, const char *name, const char *value);
void env_unset(struct strv *env, const char *name);
/* NULL: not set. */
const char *env_get(const struct strv *env, const char *name);
/* over: an object of texts, null unsets; NULL is fine. intent begins the sentence of an error. */
int env_override(struct strv *env, yyjson_val *over, const char *intent, struct tl_err *err);

#endif
