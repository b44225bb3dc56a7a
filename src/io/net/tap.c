/* SPDX-License-Identifier: MIT */
/*
 * A tap device. Frames carry a struct virtio_net_hdr, so that checksums are never made and large
 * packets never cut between the guest and a program on the host.
 */
#include "io/net/link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "util/err.h"

#ifndef TUNSETCARRIER /* Linux 5.0 */
#define TUNSETCARRIER _IOW('T', 226, int)
#endif

struct tap {
	struct net_link link;
	unsigned int nr_queues;
	bool attached[NET_MAX_QUEUES];
	int fd[NET_MAX_QUEUES];
};

/* --- frames ----------------------------------------------------------------------------------- */

static int tap_fd(struct net_link *link, unsigned int queue)
{
	return ((struct tap *)link)->fd[queue];
}

static ssize_t result(ssize_t n, size_t header)
{
	if (n >= (ssize_t)header)
		return n - (ssize_t)header;
	if (n >= 0)
		return -EIO;
	if (errno == EINTR)
		return -EAGAIN;
	/* The device was deleted, or the descriptor detached from it. */
	return errno == EBADFD || errno == ENODEV ? -EPIPE : -errno;
}

static ssize_t tap_send(struct net_link *link, unsigned int queue, const struct virtio_net_hdr *hdr,
			struct iovec *iov, unsigned int nr_iov)
{
	size_t header = link->offload ? sizeof(*hdr) : 0;

	iov[0] = (struct iovec){.iov_base = (void *)(uintptr_t)hdr, .iov_len = header};
	return result(writev(((struct tap *)link)->fd[queue], iov, (int)nr_iov), header);
}

static ssize_t tap_recv(struct net_link *link, unsigned int queue, struct virtio_net_hdr *hdr,
			struct iovec *iov, unsigned int nr_iov)
{
	size_t header = link->offload ? sizeof(*hdr) : 0;

	iov[0] = (struct iovec){.iov_base = hdr, .iov_len = header};
	ssize_t n = result(readv(((struct tap *)link)->fd[queue], iov, (int)nr_iov), header);

	/* Of a device whose other end is not there any more: reading says EIO. */
	return n == -EIO ? -EPIPE : n;
}

/* --- configuration ---------------------------------------------------------------------------- */

static void tap_configure(struct net_link *link, unsigned int nr_queues,
			  const struct net_offload *o)
{
	struct tap *tap = (struct tap *)link;
	unsigned int flags = (o->csum || o->tso4 || o->tso6 ? TUN_F_CSUM : 0) |
			     (o->tso4 ? TUN_F_TSO4 : 0) | (o->tso6 ? TUN_F_TSO6 : 0);
	int carrier = nr_queues != 0;

	if (link->offload && nr_queues)
		ioctl(tap->fd[0], TUNSETOFFLOAD, flags);
	/* The kernel spreads frames over the attached queues; one stays, even if nobody reads. */
	for (unsigned int i = 1; i < tap->nr_queues; i++) {
		bool want = i < nr_queues;
		struct ifreq ifr = {.ifr_flags = want ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

		if (want != tap->attached[i] && ioctl(tap->fd[i], TUNSETQUEUE, &ifr) == 0)
			tap->attached[i] = want;
	}
	/* Older kernels have none: then frames queue up until somebody listens. */
	ioctl(tap->fd[0], TUNSETCARRIER, &carrier);
}

static void tap_free(struct net_link *link)
{
	struct tap *tap = (struct tap *)link;

	for (unsigned int i = 0; i < tap->nr_queues; i++)
		close(tap->fd[i]);
	free(tap);
}

static const struct net_link_ops tap_ops = {
	.configure = tap_configure,
	.fd = tap_fd,
	.send = tap_send,
	.recv = tap_recv,
	.free = tap_free,
};

static struct tap *new_tap(const char *name)
{
	struct tap *tap = calloc(1, sizeof(*tap));

	if (!tap)
		return NULL;
	tap->link.ops = &tap_ops;
	snprintf(tap->link.name, sizeof(tap->link.name), "%s", name);
	return tap;
}

static void add_queue(struct tap *tap, int fd)
{
	tap->attached[tap->nr_queues] = true;
	tap->fd[tap->nr_queues++] = fd;
	tap->link.max_queues = tap->nr_queues;
}

/* The header that stands before each frame has the size that we think. */
static bool set_header_size(int fd)
{
	int size = sizeof(struct virtio_net_hdr);

	return ioctl(fd, TUNSETVNETHDRSZ, &size) == 0;
}

/* That it has no packet information must be believed: the kernel reports that bit for another. */
int net_tap_from_fd(const char *object, int fd, struct net_link **ret_link)
{
	struct ifreq ifr = {0};
	const char *why = NULL;

	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		why = "it is not attached to a device";
	else if (!(ifr.ifr_flags & IFF_TAP))
		why = "it is a tun device; make it with IFF_TAP";
	else if (ifr.ifr_flags & IFF_VNET_HDR && !set_header_size(fd))
		why = "its header size cannot be set";
	if (why) {
		close(fd);
		return err_set(PVV_EINVAL, PVV_SUBSYS_NET, object,
			       "the tap descriptor cannot be used: %s", why);
	}
	struct tap *tap = new_tap(ifr.ifr_name);
	if (!tap) {
		close(fd);
		return err_nomem(PVV_SUBSYS_NET, "opening a tap device");
	}
	tap->link.offload = ifr.ifr_flags & IFF_VNET_HDR;
	add_queue(tap, fd);
	*ret_link = &tap->link;
	return PVV_OK;
}

/* --- by name ---------------------------------------------------------------------------------- */

static int open_error(const struct net_tap_params *p, int e)
{
	const char *name = p->name && *p->name ? p->name : "tap";

	if (e == EPERM || e == EACCES)
		return err_sys(PVV_EPERM, PVV_SUBSYS_NET, e, p->object,
			       "the tap device '%s' may not be used: make it beforehand for this "
			       "user ('ip tuntap add dev %s mode tap user NAME multi_queue') or "
			       "run with CAP_NET_ADMIN",
			       name, name);
	if (e == EBUSY)
		return err_sys(PVV_EBUSY, PVV_SUBSYS_NET, e, p->object,
			       "the tap device '%s' is used by another program", name);
	if (e == EINVAL)
		return err_sys(PVV_EINVAL, PVV_SUBSYS_NET, e, p->object, "'%s' is not a tap device",
			       name);
	return err_sys(e == ENOENT || e == ENODEV ? PVV_ENOENT : PVV_ESYS, PVV_SUBSYS_NET, e,
		       p->object, "cannot open the tap device '%s'", name);
}

/* One queue of the device in `ifr`, whose name is filled in. -errno on failure. */
static int open_queue(struct ifreq *ifr, bool multi)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	ifr->ifr_flags =
		(short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multi ? IFF_MULTI_QUEUE : 0));
	if (ioctl(fd, TUNSETIFF, ifr) < 0 || !set_header_size(fd)) {
		int e = errno;

		close(fd);
		return -e;
	}
	return fd;
}

static int open_queues(const struct net_tap_params *p, struct tap *tap, struct ifreq *ifr)
{
	unsigned int want = p->max_queues ? p->max_queues : 1;
	bool multi = want > 1;

	if (want > NET_MAX_QUEUES)
		want = NET_MAX_QUEUES;
	int fd = open_queue(ifr, multi);
	/* An existing device has several queues or has not, and insists on it. */
	if (fd == -EINVAL) {
		multi = !multi;
		fd = open_queue(ifr, multi);
	}
	if (fd < 0)
		return open_error(p, -fd);
	add_queue(tap, fd);
	while (multi && tap->nr_queues < want) {
		fd = open_queue(ifr, true);
		if (fd < 0)
			break; /* the device's limit: fewer do, too */
		add_queue(tap, fd);
	}
	tap->link.offload = true;
	snprintf(tap->link.name, sizeof(tap->link.name), "%s", ifr->ifr_name);
	return PVV_OK;
}

static int set_up_error(const struct net_tap_params *p, const struct tap *tap, const char *what)
{
	int e = errno;

	return err_sys(e == EPERM ? PVV_EPERM : PVV_ESYS, PVV_SUBSYS_NET, e, p->object,
		       "cannot %s of the tap device '%s'", what, tap->link.name);
}

static int attach_bridge(const struct net_tap_params *p, const struct tap *tap, int sock)
{
	struct ifreq ifr = {.ifr_ifindex = (int)if_nametoindex(tap->link.name)};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", p->bridge);
	if (!if_nametoindex(p->bridge))
		return err_set(PVV_ENOENT, PVV_SUBSYS_NET, p->object, "there is no bridge '%s'",
			       p->bridge);
	/* Busy: it is in a bridge already, which somebody has seen to. */
	if (ioctl(sock, SIOCBRADDIF, &ifr) < 0 && errno != EBUSY)
		return err_sys(errno == EPERM ? PVV_EPERM : PVV_ESYS, PVV_SUBSYS_NET, errno,
			       p->object, "cannot attach the tap device '%s' to the bridge '%s'",
			       tap->link.name, p->bridge);
	return PVV_OK;
}

/* A device of our own making: size, bridge, up. */
static int set_up(const struct net_tap_params *p, const struct tap *tap)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};
	int r = PVV_OK;

	if (sock < 0)
		return err_sys(PVV_ESYS, PVV_SUBSYS_NET, errno, p->object,
			       "cannot make a socket to set up a tap device");
	memcpy(ifr.ifr_name, tap->link.name, IFNAMSIZ - 1);
	if (p->mac) {
		/* High, as libvirt does it: a bridge takes its lowest port's address. */
		ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
		memcpy(ifr.ifr_hwaddr.sa_data, p->mac, 6);
		ifr.ifr_hwaddr.sa_data[0] = (char)0xfe;
		if (ioctl(sock, SIOCSIFHWADDR, &ifr) < 0)
			r = set_up_error(p, tap, "set the address");
	}
	ifr.ifr_mtu = (int)p->mtu;
	if (r == PVV_OK && p->mtu && ioctl(sock, SIOCSIFMTU, &ifr) < 0)
		r = set_up_error(p, tap, "set the MTU");
	if (r == PVV_OK && p->bridge)
		r = attach_bridge(p, tap, sock);
	if (r == PVV_OK && ioctl(sock, SIOCGIFFLAGS, &ifr) == 0) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(sock, SIOCSIFFLAGS, &ifr) < 0)
			r = set_up_error(p, tap, "change the state");
	}
	close(sock);
	return r;
}

int net_link_open_tap(const struct net_tap_params *p, struct net_link **ret_link)
{
	struct ifreq ifr = {0};

	*ret_link = NULL;
	if (p->name && strlen(p->name) >= IFNAMSIZ)
		return err_set(PVV_EINVAL, PVV_SUBSYS_NET, p->object,
			       "the device name '%s' is longer than %d characters", p->name,
			       IFNAMSIZ - 1);
	bool there = p->name && *p->name && if_nametoindex(p->name);
	if (p->must_exist && !there)
		return err_set(PVV_ENOENT, PVV_SUBSYS_NET, p->object,
			       "there is no tap device '%s' (make it with 'ip tuntap add dev %s "
			       "mode tap', or let it be made with managed='yes')",
			       p->name ? p->name : "", p->name ? p->name : "");
	struct tap *tap = new_tap("");
	if (!tap)
		return err_nomem(PVV_SUBSYS_NET, "opening a tap device");
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", p->name && *p->name ? p->name : "vif%d");
	int r = open_queues(p, tap, &ifr);
	if (r == PVV_OK && !p->must_exist && (!there || p->bridge))
		r = set_up(p, tap);
	if (r < 0) {
		tap_free(&tap->link);
		return r;
	}
	*ret_link = &tap->link;
	return PVV_OK;
}
