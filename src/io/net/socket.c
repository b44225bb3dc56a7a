/* SPDX-License-Identifier: MIT */
/*
 * Links over sockets, without offloads: one frame per message, or a stream in which each frame
 * follows its length (32 bits, big endian; the way of QEMU, passt and libkrun).
 */
#include "io/net/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/err.h"

#define LENGTH_SIZE 4u
#define IN_SIZE	    (256u << 10)
#define TEXT_MAX    512

struct stream {
	struct net_link link;
	int fd;
	bool is_stream;
	int text_fd;
	char text[TEXT_MAX];
	/* What was read and not given yet. */
	size_t in_at, in_len;
	uint8_t *in;
	/* The rest of a frame of which a part was sent; whose sender waits for all of it to go. */
	size_t out_at, out_len;
	bool out_waits;
	uint8_t out[LENGTH_SIZE + NET_FRAME_MAX];
};

static void socket_configure(struct net_link *link, unsigned int nr_queues,
			     const struct net_offload *o)
{
	(void)nr_queues;
	(void)o;
	/* Whoever waited is not there any more; what began of its frame must still go. */
	((struct stream *)link)->out_waits = false;
}

static int socket_fd(struct net_link *link, unsigned int queue)
{
	(void)queue;
	return ((struct stream *)link)->fd;
}

static ssize_t failure(void)
{
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	if (errno == ENOBUFS || errno == ENOMEM || errno == EMSGSIZE)
		return -errno;
	return -EPIPE; /* whatever it is, the other side is not there */
}

/* --- messages --------------------------------------------------------------------------------- */

static ssize_t message_send(struct net_link *link, unsigned int queue,
			    const struct virtio_net_hdr *hdr, struct iovec *iov,
			    unsigned int nr_iov)
{
	struct msghdr m = {.msg_iov = iov + 1, .msg_iovlen = nr_iov - 1};
	ssize_t n = sendmsg(((struct stream *)link)->fd, &m, MSG_NOSIGNAL);

	(void)queue;
	(void)hdr;
	return n < 0 ? failure() : n;
}

static ssize_t message_recv(struct net_link *link, unsigned int queue, struct virtio_net_hdr *hdr,
			    struct iovec *iov, unsigned int nr_iov)
{
	struct msghdr m = {.msg_iov = iov + 1, .msg_iovlen = nr_iov - 1};
	ssize_t n = recvmsg(((struct stream *)link)->fd, &m, MSG_TRUNC);

	(void)queue;
	(void)hdr;
	return n < 0 ? failure() : n == 0 ? -EPIPE : n;
}

/* --- streams ---------------------------------------------------------------------------------- */

static size_t total(const struct iovec *iov, unsigned int nr_iov)
{
	size_t n = 0;

	for (unsigned int i = 0; i < nr_iov; i++)
		n += iov[i].iov_len;
	return n;
}

/* 0 when the rest of the last frame has gone. */
static ssize_t flush_out(struct stream *s)
{
	while (s->out_at < s->out_len) {
		ssize_t n = send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_NOSIGNAL);

		if (n < 0)
			return failure();
		s->out_at += (size_t)n;
	}
	s->out_at = s->out_len = 0;
	return 0;
}

/* What was not sent of the frame and its length. */
static void keep_rest(struct stream *s, const struct iovec *iov, unsigned int nr_iov, size_t sent)
{
	s->out_at = s->out_len = 0;
	for (unsigned int i = 0; i < nr_iov; i++) {
		size_t len = iov[i].iov_len;

		if (sent >= len) {
			sent -= len;
			continue;
		}
		memcpy(s->out + s->out_len, (uint8_t *)iov[i].iov_base + sent, len - sent);
		s->out_len += len - sent;
		sent = 0;
	}
}

static ssize_t stream_send(struct net_link *link, unsigned int queue,
			   const struct virtio_net_hdr *hdr, struct iovec *iov, unsigned int nr_iov)
{
	struct stream *s = (struct stream *)link;
	size_t size = total(iov + 1, nr_iov - 1);
	uint32_t length = htonl((uint32_t)size);
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = nr_iov};
	ssize_t r = flush_out(s);

	(void)queue;
	(void)hdr;
	if (r < 0)
		return r;
	if (s->out_waits) { /* it is this frame that has gone now */
		s->out_waits = false;
		return (ssize_t)size;
	}
	if (size > NET_FRAME_MAX)
		return -EMSGSIZE;
	iov[0] = (struct iovec){.iov_base = &length, .iov_len = LENGTH_SIZE};
	r = sendmsg(s->fd, &m, MSG_NOSIGNAL);
	if (r < 0)
		return failure();
	if ((size_t)r < size + LENGTH_SIZE) {
		keep_rest(s, iov, nr_iov, (size_t)r);
		s->out_waits = true;
		return -EAGAIN;
	}
	return (ssize_t)size;
}

/* The length of the frame that lies complete in the buffer, 0 if there is none. */
static ssize_t next_frame(const struct stream *s)
{
	uint32_t length;

	if (s->in_len - s->in_at < LENGTH_SIZE)
		return 0;
	memcpy(&length, s->in + s->in_at, LENGTH_SIZE);
	length = ntohl(length);
	if (!length || length > NET_FRAME_MAX)
		return -EPIPE; /* the other side does not speak our language */
	return s->in_len - s->in_at - LENGTH_SIZE >= length ? (ssize_t)length : 0;
}

static ssize_t fill_in(struct stream *s)
{
	memmove(s->in, s->in + s->in_at, s->in_len - s->in_at);
	s->in_len -= s->in_at;
	s->in_at = 0;
	ssize_t n = recv(s->fd, s->in + s->in_len, IN_SIZE - s->in_len, 0);
	if (n <= 0)
		return n ? failure() : -EPIPE;
	s->in_len += (size_t)n;
	return n;
}

static ssize_t stream_recv(struct net_link *link, unsigned int queue, struct virtio_net_hdr *hdr,
			   struct iovec *iov, unsigned int nr_iov)
{
	struct stream *s = (struct stream *)link;
	ssize_t n;

	(void)queue;
	(void)hdr;
	while ((n = next_frame(s)) == 0) {
		ssize_t r = fill_in(s);

		if (r < 0)
			return r;
	}
	if (n < 0)
		return n;
	const uint8_t *p = s->in + s->in_at + LENGTH_SIZE;
	size_t left = (size_t)n;
	for (unsigned int i = 1; i < nr_iov && left; i++) {
		size_t len = iov[i].iov_len < left ? iov[i].iov_len : left;

		memcpy(iov[i].iov_base, p, len);
		p += len;
		left -= len;
	}
	s->in_at += LENGTH_SIZE + (size_t)n;
	return n;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* What a process said, in one line; not what it says about the host's lack of a syslog. */
static void read_text(struct stream *s)
{
	static const char *const noise[] = {"Failed to send", "Don't run as root"};
	char said[1024], *save;
	ssize_t n = read(s->text_fd, said, sizeof(said) - 1);
	size_t len = 0;

	said[n > 0 ? n : 0] = '\0';
	for (char *line = strtok_r(said, "\r\n", &save); line;
	     line = strtok_r(NULL, "\r\n", &save)) {
		if (!strncmp(line, noise[0], strlen(noise[0])) ||
		    !strncmp(line, noise[1], strlen(noise[1])))
			continue;
		int w = snprintf(s->text + len, sizeof(s->text) - len, "%s%s", len ? "; " : "",
				 line);
		if (w < 0 || (size_t)w >= sizeof(s->text) - len)
			break;
		len += (size_t)w;
	}
	for (char *p = s->text; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	if (!len)
		snprintf(s->text, sizeof(s->text), "the process has ended");
}

/* Why the other side has gone, if it has. */
static const char *socket_why(struct net_link *link)
{
	struct stream *s = (struct stream *)link;
	char c;
	ssize_t n = recv(s->fd, &c, 1, MSG_PEEK);

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return NULL;
	if (!*s->text && s->text_fd >= 0)
		read_text(s);
	else if (!*s->text)
		snprintf(s->text, sizeof(s->text), "the other side has closed the connection");
	return s->text;
}

static void socket_free(struct net_link *link)
{
	struct stream *s = (struct stream *)link;

	close(s->fd);
	if (s->text_fd >= 0)
		close(s->text_fd);
	free(s->in);
	free(s);
}

static const struct net_link_ops message_ops = {
	.configure = socket_configure,
	.fd = socket_fd,
	.send = message_send,
	.recv = message_recv,
	.why = socket_why,
	.free = socket_free,
};

static const struct net_link_ops stream_ops = {
	.configure = socket_configure,
	.fd = socket_fd,
	.send = stream_send,
	.recv = stream_recv,
	.why = socket_why,
	.free = socket_free,
};

static int new_socket(int fd, bool is_stream, struct net_link **ret_link)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s || (is_stream && !(s->in = malloc(IN_SIZE)))) {
		free(s);
		close(fd);
		return err_nomem(PVV_SUBSYS_NET, "opening a socket link");
	}
	s->link.ops = is_stream ? &stream_ops : &message_ops;
	s->link.max_queues = 1;
	s->fd = fd;
	s->text_fd = -1;
	snprintf(s->link.name, sizeof(s->link.name), "socket");
	*ret_link = &s->link;
	return PVV_OK;
}

int net_message_from_fd(int fd, struct net_link **ret_link)
{
	return new_socket(fd, false, ret_link);
}

int net_stream_from_fd(int fd, struct net_link **ret_link)
{
	return new_socket(fd, true, ret_link);
}

void net_stream_set_text(struct net_link *link, int text_fd)
{
	struct stream *s = (struct stream *)link;

	s->text_fd = text_fd;
	/* A process of our own, that makes the sums itself. */
	link->valid_sums = true;
	snprintf(link->name, sizeof(link->name), "passt");
}
