/* edge_lws.c - the library's context on our loop, with one virtual host that listens nowhere. */
#include "edge/edge_lws.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "wire/jupyter_ws.h"

#define PACKET     (65536 + 16) /* one frame of ours with its header goes out in one write */
#define RX_BYTES   16384        /* one read from a browser */
#define HEADERS    8192         /* request line and headers */
#define KEEP_ALIVE 60           /* s a browser's connection may rest */
#define PATIENCE   20           /* s for a request to arrive */
#define BUSY_ANSWER                                                                                \
	"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

static const struct lws_protocols protocols[] = {
    {.name = "http",
     .callback = http_callback,
     .per_session_data_size = sizeof(struct http_request),
     .rx_buffer_size = RX_BYTES,
     .tx_packet_size = PACKET},
    {.name = "towline",
     .callback = ws_callback,
     .per_session_data_size = sizeof(struct ws_slot),
     .rx_buffer_size = RX_BYTES,
     .tx_packet_size = PACKET},
    /* of gates, and only there; their older framing has no name and comes as http */
    {.name = JUPYTER_WS_V1,
     .callback = gate_callback,
     .rx_buffer_size = PACKET,
     .tx_packet_size = PACKET},
    {.name = NULL},
};

/* The library's own lines; they end with LF. */
static void emit(int level, const char *line)
{
	int n = (int)strcspn(line, "\n");

	if (level & LLL_ERR)
		log_warn("http: %.*s", n, line);
	else
		log_debug("http: %.*s", n, line);
}

int lws_start(struct edge *e, struct tl_err *err)
{
	void *loops[1] = {&e->loop->uv};
	struct lws_context_creation_info info = {
	    .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_LIBUV |
		       LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
	    .foreign_loops = loops,
	    .pcontext = &e->lws,
	    .pt_serv_buf_size = PACKET,
	    .max_http_header_data = HEADERS,
	    .max_http_header_pool = TL_LIMIT_HTTP_CONNECTIONS,
	    .fd_limit_per_thread = TL_LIMIT_HTTP_CONNECTIONS + 16,
	    .timeout_secs = PATIENCE,
	};

	/* one for all ports: the library would choose between two by the name the browser gives */
	struct lws_context_creation_info vhost = {
	    .port = CONTEXT_PORT_NO_LISTEN_SERVER,
	    .vhost_name = "towline",
	    .protocols = protocols,
	    .keepalive_timeout = KEEP_ALIVE,
	    .timeout_secs = PATIENCE,
	};

	lws_set_log_level(LLL_ERR | LLL_WARN, emit);
	e->lws = lws_create_context(&info);
	if (!e->lws)
		return err_set(
		    err, TL_E_INTERNAL,
		    "cannot start the HTTP library: is libwebsockets-evlib-uv, its part for "
		    "our event loop, installed?");
	vhost.user = e;
	e->vhost = lws_create_vhost(e->lws, &vhost);
	if (!e->vhost)
		return err_set(err, TL_E_NOMEM, "cannot start the HTTP library: out of memory");
	return 0;
}

bool lws_take(struct edge *e, int fd)
{
	int on = 1;

	if (e->tcp_count >= TL_LIMIT_HTTP_CONNECTIONS) {
		if (!e->full)
			log_warn("more than %d browser connections: they are turned away",
				 TL_LIMIT_HTTP_CONNECTIONS);
		e->full = true;
		if (write(fd, BUSY_ANSWER, sizeof(BUSY_ANSWER) - 1) < 0)
			log_debug("it did not listen");
		close(fd);
		return false;
	}
	e->full = false;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!lws_adopt_socket_vhost(e->vhost, fd)) {
		log_warn("a browser connection could not be taken");
		return false;
	}
	e->tcp_count++;
	return true;
}

void lws_stop(struct edge *e)
{
	if (e->lws)
		lws_context_destroy(e->lws);
}

bool lws_ended(struct edge *e)
{
	/* the first call closed everything on the loop, the second one frees */
	if (e->lws)
		lws_context_destroy(e->lws);
	return e->lws == NULL;
}

struct edge *edge_of(struct lws *wsi)
{
	struct lws_vhost *vh = lws_get_vhost(wsi);

	return vh ? lws_get_vhost_user(vh) : NULL;
}

int port_number_of_wsi(struct lws *wsi)
{
	struct sockaddr_in6 sa = {0};
	socklen_t n = sizeof(sa);

	/* the port is at the same place in both families */
	return getsockname(lws_get_socket_fd(wsi), (struct sockaddr *)&sa, &n) == 0
		   ? ntohs(sa.sin6_port)
		   : 0;
}

enum edge_port port_of_wsi(struct lws *wsi)
{
	return port_number_of_wsi(wsi) == edge_port(edge_of(wsi)) ? EDGE_PORT_WINDOW
								  : EDGE_PORT_FRAME;
}

bool host_is_ours(struct lws *wsi)
{
	char host[64];
	struct edge *e = edge_of(wsi);

	return lws_hdr_copy(wsi, host, sizeof(host), WSI_TOKEN_HOST) > 0 &&
	       strcasecmp(host, e->host[port_of_wsi(wsi)]) == 0;
}
