/* SPDX-License-Identifier: MIT */
/*
 * Host a guest: boot a PV kernel, show its console, say how it ended.
 *
 *	cc hello.c $(pkg-config --cflags --libs libpvvirt) && ./a.out [KERNEL]
 */
#include <stdio.h>
#include <unistd.h>

#include <pvvirt/pvvirt.h>

int main(int argc, char **argv)
{
	pvv_domain_options options = PVV_DOMAIN_OPTIONS_INIT;
	pvv_host *host = NULL;
	pvv_domain *domain = NULL;
	char buf[4096], *why = NULL;
	int fd = -1, reason = 0;
	ssize_t n;

	options.name = "hello";
	options.kernel = argc > 1 ? argv[1] : "/usr/lib/grub-xen/grub-x86_64-xen.bin";
	options.memory = 64 << 20;

	if (pvv_host_open(0, &host) < 0 || pvv_domain_create(host, &options, 0, &domain) < 0 ||
	    pvv_domain_open_console(domain, 0, 0, &fd) < 0 || pvv_domain_start(domain, 0) < 0) {
		fprintf(stderr, "%s\n", pvv_error_get_message(pvv_error_last()));
		return 1;
	}
	while ((n = read(fd, buf, sizeof(buf))) > 0) /* ends with the guest */
		fwrite(buf, 1, (size_t)n, stdout);
	pvv_domain_wait(domain, -1, 0);
	pvv_domain_get_state(domain, NULL, &reason);
	pvv_domain_get_reason_text(domain, &why);
	printf("%s %s\n",
	       reason == PVV_SHUTOFF_SHUTDOWN ? "powered off" : "did not power off:", why);
	pvv_free(why);
	close(fd);
	pvv_domain_unref(domain);
	pvv_host_unref(host);
	return reason == PVV_SHUTOFF_SHUTDOWN ? 0 : 1;
}
