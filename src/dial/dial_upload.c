/* dial_upload.c - the client's half of the installation: answers the host's facts with one line and
 * sends the program. Nothing is sent behind it before the marker, because the host's head(1) may
 * read more than it passes on. */
#include "dial/dial_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "dial/start_script.h"

/* Room beside the program: logs, the run folder. */
#define SPARE_BYTES 65536
/* Bytes a millisecond of the slowest line that is waited for: ssh takes two megabytes at once, so
 * our writes do not tell how far they travelled. */
#define SLOWEST 4

/* The value of `NAME=` in facts, up to a space, into out; "" where absent. */
static void fact(const char *facts, const char *name, char *out, size_t n)
{
	const char *at = strstr(facts, name);
	size_t len;

	out[0] = 0;
	if (!at)
		return;
	at += strlen(name);
	len = strcspn(at, " ");
	if (len < n) {
		memcpy(out, at, len);
		out[len] = 0;
	}
}

/* The host removes what it has made for the installation, then ends; only then is err told. */
static void fail_needed(struct dial *d, const struct tl_err *err)
{
	d->refused = *err;
	d->phase = DIAL_STARTING;
	buf_put_str(&d->pending, "stop\n");
	dial_pump(d);
}

static void fail_space(struct dial *d, long long free_kb, const char *facts)
{
	struct tl_err err = {0};
	const char *dir = strstr(facts, "dir=");

	err_set(&err, TL_E_NOSPACE,
		"cannot install the server on %s: %s needs %llu kB and has %lld kB left", d->host,
		dir ? dir + 4 : "its folder",
		(unsigned long long)(d->bin.raw_bytes + SPARE_BYTES) / 1024, free_kb);
	fail_needed(d, &err);
}

/* The program behind one line that says what it is. */
static void begin_upload(struct dial *d, const char *arch)
{
	d->phase = DIAL_INSTALLING;
	d->uploading = true;
	d->sent = 0;
	buf_printf(&d->pending, "go %llu %s %llu %lu\n", (unsigned long long)d->bin.send_bytes,
		   d->bin.gz ? "gz" : "raw", (unsigned long long)d->bin.raw_bytes,
		   (unsigned long)d->bin.crc);
	dial_progress(d, "install", 0, (int64_t)d->bin.send_bytes,
		      "installing the server on %s (%s)", d->host, arch);
	dial_pump(d);
}

void dial_offer(struct dial *d)
{
	const char *arch = d->private_server ? start_arch_of(d->machine) : NULL;

	if (!arch || binary_open(&d->bin, d->bin_dir, arch, true, false, NULL) != 0) {
		dial_send_line(d);
		return;
	}
	/* nearly every host has gzip; the raw program needs a checksum that only some want */
	if (!d->bin.gz) {
		binary_close(&d->bin);
		dial_send_line(d);
		return;
	}
	d->offered = true;
	buf_printf(&d->pending, START_OFFERED, d->start.nonce);
	dial_send_line(d);
	begin_upload(d, arch);
}

void dial_needed(struct dial *d, const char *facts)
{
	char arch[16], value[64], have[64];
	struct tl_err err = {0};
	bool gz, sum;
	long long free_kb;

	if (d->uploading || d->phase > DIAL_STARTING || (d->phase == DIAL_STARTING && !d->offered))
		return;
	d->offered = false;
	fact(facts, "arch=", arch, sizeof(arch));
	fact(facts, "gzip=", value, sizeof(value));
	gz = strcmp(value, "1") == 0;
	fact(facts, "sha256=", value, sizeof(value));
	sum = strcmp(value, "1") == 0;
	if (binary_open(&d->bin, d->bin_dir, arch, gz, !sum, &err)) {
		err_set(&err, TL_E_INSTALL,
			"cannot install the server on %s: no program for %s in %s", d->host, arch,
			d->bin_dir);
		fail_needed(d, &err);
		return;
	}
	/* a host without sha256sum lets us judge what it has */
	fact(facts, "have=", value, sizeof(value));
	snprintf(have, sizeof(have), "%lu:%llu", (unsigned long)d->bin.crc,
		 (unsigned long long)d->bin.raw_bytes);
	if (!sum && strcmp(have, value) == 0) {
		binary_close(&d->bin);
		d->phase = DIAL_STARTING;
		buf_put_str(&d->pending, "use\n");
		dial_pump(d);
		return;
	}
	fact(facts, "free=", value, sizeof(value));
	if (str_to_int(value, 0, INT64_MAX, &free_kb) &&
	    free_kb < (long long)(d->bin.raw_bytes + SPARE_BYTES) / 1024) {
		fail_space(d, free_kb, facts);
		return;
	}
	begin_upload(d, arch);
}

/* The next piece of the program into pending. False when all of it is on its way. */
static bool upload_more(struct dial *d)
{
	struct tl_err err = {0};
	uint8_t *p;
	long got;

	if (!d->uploading)
		return false;
	if (d->sent == d->bin.send_bytes) {
		d->uploading = false;
		binary_close(&d->bin);
		d->phase = DIAL_STARTING;
		dial_progress(d, "start", 0, 0, "starting the server on %s", d->host);
		return false;
	}
	p = buf_reserve(&d->pending, DIAL_CHUNK);
	got = p ? binary_read(&d->bin, d->sent, p, DIAL_CHUNK) : TL_E_NOMEM;
	if (got > (long)(d->bin.send_bytes - d->sent))
		got = (long)(d->bin.send_bytes - d->sent);
	if (got <= 0) {
		err_set(&err, TL_E_INSTALL,
			"cannot install the server on %s: the local copy in %s changed while it "
			"was read",
			d->host, d->bin_dir);
		dial_fail(d, &err);
		return false;
	}
	buf_commit(&d->pending, (size_t)got);
	d->sent += (uint64_t)got;
	return true;
}

void dial_pump(struct dial *d)
{
	while (!d->closed && d->out.open) {
		struct tl_bytes b = buf_data(&d->pending);
		long put;
		if (b.n == 0) {
			if (!upload_more(d))
				return;
			continue;
		}
		put = io_write(&d->out, b.p, b.n);
		/* broken: the exit of the child will say why */
		if (put < 0)
			return;
		buf_consume(&d->pending, (size_t)put);
		if (put == 0) {
			io_want_write(&d->out, true);
			return;
		}
		if (d->uploading) {
			dial_clock_restart(d, d->bin.send_bytes / SLOWEST);
			dial_progress(d, "install", (int64_t)(d->sent - d->pending.len),
				      (int64_t)d->bin.send_bytes, "installing the server on %s",
				      d->host);
		}
	}
}
