/* SPDX-License-Identifier: MIT */
/* A link from a descriptor: what is it? */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/net/link.h"
#include "util/err.h"

int net_link_open_fd(const char *object, int fd, struct net_link **ret_link)
{
	int type = 0;
	socklen_t len = sizeof(type);
	unsigned int features;

	*ret_link = NULL;
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return err_sys(PVV_ESYS, PVV_SUBSYS_NET, errno, object,
			       "cannot duplicate the interface's descriptor %d", fd);
	int flags = fcntl(own, F_GETFL);
	if (flags < 0 || fcntl(own, F_SETFL, flags | O_NONBLOCK) < 0) {
		int e = errno;

		close(own);
		return err_sys(PVV_ESYS, PVV_SUBSYS_NET, e, object,
			       "cannot make the interface's descriptor %d non-blocking", fd);
	}
	if (getsockopt(own, SOL_SOCKET, SO_TYPE, &type, &len) == 0) {
		if (type == SOCK_STREAM)
			return net_stream_from_fd(own, ret_link);
		if (type == SOCK_DGRAM || type == SOCK_SEQPACKET)
			return net_message_from_fd(own, ret_link);
	} else if (ioctl(own, TUNGETFEATURES, &features) == 0) {
		return net_tap_from_fd(object, own, ret_link);
	}
	close(own);
	return err_set(PVV_EINVAL, PVV_SUBSYS_NET, object,
		       "the interface's descriptor %d is neither a tap device nor a socket", fd);
}
