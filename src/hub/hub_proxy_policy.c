/* hub_proxy_policy.c - who may use a lent proxy, and where it goes: only to the internet. Looked at
 * after the name is resolved, and the address looked at is the one connected to, so no name server
 * can talk us into anything. */
#include "hub/hub_proxy.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Loopback, private, link-local, shared, multicast, reserved (IANA's special-purpose registries).
 */
static const char *const not_internet[] = {
    "0.0.0.0/8",      "10.0.0.0/8",    "100.64.0.0/10", "127.0.0.0/8",
    "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",  "192.168.0.0/16",
    "198.18.0.0/15",  "224.0.0.0/3",   "::/128",        "::1/128",
    "fc00::/7",       "fe80::/10",     "fec0::/10",     "ff00::/8"};

/* An address as bytes: 4 or 16 of them. IPv4 in IPv6 (mapped, translated, 6to4) counts as IPv4. */
struct bytes {
	uint8_t b[16];
	size_t n;
};

static bool v4_within(const uint8_t *b, struct bytes *ret)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
	const uint8_t *v4 = NULL;

	if (memcmp(b, mapped, 12) == 0 || memcmp(b, nat64, 12) == 0)
		v4 = b + 12;
	else if (b[0] == 0x20 && b[1] == 0x02)
		v4 = b + 2;
	if (v4)
		memmove(ret->b, v4, 4);
	return v4 != NULL;
}

static bool bytes_from(const struct sockaddr *sa, struct bytes *ret)
{
	if (sa->sa_family == AF_INET) {
		memcpy(ret->b, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
		ret->n = 4;
		return true;
	}
	if (sa->sa_family != AF_INET6)
		return false;
	memcpy(ret->b, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	ret->n = v4_within(ret->b, ret) ? 4 : 16;
	return true;
}

/* "10.0.0.0/8", "::1", "192.0.2.7": is the address in it? A text that is none holds nothing. */
static bool within(const struct bytes *a, const char *text)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	uint8_t net[16];
	long long bits;

	if (n >= sizeof(address))
		return false;
	memcpy(address, text, n);
	address[n] = 0;
	if (inet_pton(a->n == 4 ? AF_INET : AF_INET6, address, net) != 1)
		return false;
	bits = (long long)a->n * 8;
	if (slash && !str_to_int(slash + 1, 0, bits, &bits))
		return false;
	for (size_t i = 0; bits > 0; i++, bits -= 8) {
		uint8_t mask = bits >= 8 ? 0xff : (uint8_t)(0xff << (8 - bits));
		if ((a->b[i] ^ net[i]) & mask)
			return false;
	}
	return true;
}

/* An address of this machine, whatever network it is in. */
static bool is_ours(const struct bytes *a)
{
	struct ifaddrs *list = NULL;
	bool found = false;

	if (getifaddrs(&list) != 0)
		return true; /* better refuse what cannot be looked at */
	for (struct ifaddrs *i = list; i && !found; i = i->ifa_next) {
		struct bytes b;
		found = i->ifa_addr && bytes_from(i->ifa_addr, &b) && b.n == a->n &&
			memcmp(a->b, b.b, b.n) == 0;
	}
	freeifaddrs(list);
	return found;
}

bool proxy_allows(yyjson_val *allow, const struct sockaddr *sa)
{
	struct bytes a;
	yyjson_val *v;
	size_t i, n;

	if (!bytes_from(sa, &a))
		return false;
	yyjson_arr_foreach(allow, i, n, v)
	{
		if (yyjson_is_str(v) && within(&a, yyjson_get_str(v)))
			return true;
	}
	for (i = 0; i < sizeof(not_internet) / sizeof(not_internet[0]); i++)
		if (within(&a, not_internet[i]))
			return false;
	return !is_ours(&a);
}

void proxy_credentials(const char *secret, char *out, size_t n)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[64];
	size_t len, at = 0;

	/* 8 bytes and the secret's 32: no padding but at the end */
	snprintf(text, sizeof(text), "towline:%s", secret);
	len = strlen(text);
	str_copy(out, n, "Basic ");
	at = strlen(out);
	for (size_t i = 0; i < len && at + 5 < n; i += 3) {
		uint32_t w = (uint32_t)(uint8_t)text[i] << 16;
		w |= i + 1 < len ? (uint32_t)(uint8_t)text[i + 1] << 8 : 0;
		w |= i + 2 < len ? (uint32_t)(uint8_t)text[i + 2] : 0;
		out[at++] = digits[w >> 18];
		out[at++] = digits[w >> 12 & 63];
		out[at++] = i + 1 < len ? digits[w >> 6 & 63] : '=';
		out[at++] = i + 2 < len ? digits[w & 63] : '=';
	}
	out[at] = 0;
}
