/* SPDX-License-Identifier: MIT */
/* struct config used without XML: helpers, completion, and checks with their words. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/strbuf.h"
#include "util/utf8.h"

static struct config *least(void)
{
	struct config *cfg = config_new();

	assert_non_null(cfg);
	assert_int_equal(config_set_string(&cfg->name, "d"), PVV_OK);
	assert_int_equal(config_set_string(&cfg->kernel, "/k"), PVV_OK);
	cfg->memory = 64 << 20;
	return cfg;
}

static void test_defaults(void **state)
{
	struct config *cfg = config_new();

	assert_int_equal(cfg->vcpus, 1);
	assert_int_equal(cfg->kernel_fd, CONFIG_FD_NONE);
	assert_int_equal(cfg->initrd_fd, CONFIG_FD_NONE);
	assert_int_equal(cfg->on_poweroff, CONFIG_ACTION_DESTROY);
	assert_int_equal(cfg->on_reboot, CONFIG_ACTION_RESTART);
	assert_int_equal(cfg->on_crash, CONFIG_ACTION_DESTROY);
	assert_true(cfg->balloon);
	config_free(cfg);
	config_free(NULL);

	/* What the document leaves out is what a new configuration has. */
	struct config *a = parse_ok("<domain type='xen'><name>d</name><memory>65536</memory><os>"
				    "<type>linux</type><kernel>/k</kernel></os></domain>");
	struct config *b = least();
	assert_config_equal(a, b);
	config_free(a);
	config_free(b);
}

static void test_complete(void **state)
{
	struct config *cfg = least();
	struct config_interface *net;
	struct config_console *con;
	struct config_disk *disk;
	struct config_vcpupin *pin;
	char cwd[4096], path[5000];

	cfg->memory = (64 << 20) - 5;
	cfg->vcpus = 4;
	assert_int_equal(config_set_string(&cfg->kernel, "vmlinuz"), PVV_OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(config_add_interface(cfg, &net), PVV_OK);
	for (int i = 0; i < 3; i++)
		cfg->interfaces[i].type = CONFIG_NET_USER;
	for (uint32_t i = 3; i; i--) {
		assert_int_equal(config_add_console(cfg, &con), PVV_OK);
		con->port = i;
		assert_int_equal(config_add_vcpupin(cfg, &pin), PVV_OK);
		pin->vcpu = i;
		config_cpuset_set(&pin->cpus, i, true);
	}
	assert_int_equal(config_add_disk(cfg, &disk), PVV_OK);
	disk->device = CONFIG_DISK_CDROM;
	config_set_string(&disk->target, "xvda");
	config_set_string(&disk->source, "dir/cd.iso");

	assert_int_equal(config_complete(cfg), PVV_OK);
	assert_int_equal(config_check(cfg), PVV_OK);
	assert_int_equal(cfg->memory, 64 << 20);
	assert_int_equal(cfg->current_memory, 64 << 20);
	assert_int_equal(cfg->vcpus_online, 4);
	assert_true(cfg->has_uuid);
	assert_int_equal(cfg->uuid[6] >> 4, 4);
	assert_int_equal(cfg->uuid[8] >> 6, 2);
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(path, sizeof(path), "%s/vmlinuz", cwd);
	assert_string_equal(cfg->kernel, path);
	snprintf(path, sizeof(path), "%s/dir/cd.iso", cwd);
	assert_string_equal(cfg->disks[0].source, path);
	assert_true(cfg->disks[0].readonly);
	assert_int_equal(cfg->nr_consoles, 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(cfg->consoles[i].port, i);
	assert_int_equal(cfg->consoles[0].chr.type, CONFIG_CHR_PTY);
	for (uint32_t i = 0; i < 3; i++) {
		static const uint8_t prefix[3] = {0x00, 0x16, 0x3e};

		assert_int_equal(cfg->vcpupins[i].vcpu, i + 1);
		assert_true(cfg->interfaces[i].has_mac);
		assert_memory_equal(cfg->interfaces[i].mac, prefix, 3);
		for (uint32_t k = 0; k < i; k++)
			assert_memory_not_equal(cfg->interfaces[i].mac, cfg->interfaces[k].mac, 6);
	}

	/* The same uuid gives the same addresses. */
	struct config *other = least();
	other->has_uuid = true;
	memcpy(other->uuid, cfg->uuid, 16);
	assert_int_equal(config_add_interface(other, &net), PVV_OK);
	assert_int_equal(config_complete(other), PVV_OK);
	assert_memory_equal(other->interfaces[0].mac, cfg->interfaces[0].mac, 6);
	config_free(other);

	/* Another uuid every time. */
	other = least();
	assert_int_equal(config_complete(other), PVV_OK);
	assert_memory_not_equal(other->uuid, cfg->uuid, 16);
	config_free(other);
	config_free(cfg);
}

/* A MAC that is taken is not given a second time. */
static void test_mac_collision(void **state)
{
	struct config *cfg = least(), *again;
	struct config_interface *net;

	cfg->has_uuid = true;
	assert_int_equal(config_add_interface(cfg, &net), PVV_OK);
	assert_int_equal(config_complete(cfg), PVV_OK);
	again = least();
	again->has_uuid = true;
	assert_int_equal(config_add_interface(again, &net), PVV_OK);
	assert_int_equal(config_add_interface(again, &net), PVV_OK);
	net->has_mac = true;
	memcpy(net->mac, cfg->interfaces[0].mac, 6);
	assert_int_equal(config_complete(again), PVV_OK);
	assert_memory_not_equal(again->interfaces[0].mac, again->interfaces[1].mac, 6);
	config_free(cfg);
	config_free(again);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void test_descriptors(void **state)
{
	struct config *cfg = least(), *copy;
	struct config_disk *disk;
	int pipe_fds[2];

	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(config_set_fd(&cfg->kernel_fd, pipe_fds[0]), PVV_OK);
	assert_int_equal(config_add_disk(cfg, &disk), PVV_OK);
	config_set_string(&disk->target, "xvda");
	assert_int_equal(config_set_fd(&disk->fd, pipe_fds[1]), PVV_OK);
	int first = cfg->kernel_fd;
	assert_int_not_equal(first, pipe_fds[0]);
	assert_true(first > 2);
	assert_int_equal(fcntl(first, F_GETFD), FD_CLOEXEC);
	assert_int_equal(config_check(cfg), PVV_OK);
	assert_int_equal(config_check_startable(cfg), PVV_OK);

	assert_int_equal(config_copy(cfg, &copy), PVV_OK);
	assert_int_not_equal(copy->kernel_fd, first);
	assert_int_equal(fcntl(copy->kernel_fd, F_GETFD), FD_CLOEXEC);
	int second = copy->kernel_fd, third = copy->disks[0].fd;
	assert_true(is_open(second) && is_open(third));
	config_free(copy);
	assert_false(is_open(second) || is_open(third));
	assert_true(is_open(first));

	/* Replacing closes the old one; a bad one changes nothing. */
	assert_int_equal(config_set_fd(&cfg->kernel_fd, 1 << 20), PVV_EINVAL);
	assert_int_equal(pvv_error_get_os_errno(pvv_error_last()), EBADF);
	assert_int_equal(cfg->kernel_fd, first);
	assert_int_equal(config_set_fd(&cfg->kernel_fd, -7), PVV_EINVAL);
	assert_string_equal(pvv_error_get_message(pvv_error_last()), "-7 is not a descriptor");
	assert_int_equal(config_set_fd(&cfg->kernel_fd, CONFIG_FD_PENDING), PVV_OK);
	assert_false(is_open(first));
	config_free(cfg);
	assert_true(is_open(pipe_fds[0]) && is_open(pipe_fds[1]));
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void test_limits_of_lists(void **state)
{
	struct config *cfg = least();
	struct config_disk *disk;
	struct config_console *con;
	struct config_interface *net;
	struct config_ip *ip;
	struct config_forward *fwd;
	struct config_port_range *range;

	for (unsigned int i = 0; i < CONFIG_MAX_DISKS; i++) {
		assert_int_equal(config_add_disk(cfg, &disk), PVV_OK);
		assert_int_equal(disk->fd, CONFIG_FD_NONE);
		assert_ptr_equal(disk, &cfg->disks[i]);
	}
	assert_int_equal(config_add_disk(cfg, &disk), PVV_ELIMIT);
	assert_null(disk);
	assert_string_equal(pvv_error_get_message(pvv_error_last()), "more than 256 disks");
	assert_int_equal(cfg->nr_disks, CONFIG_MAX_DISKS);
	for (unsigned int i = 0; i < CONFIG_MAX_CONSOLES; i++)
		assert_int_equal(config_add_console(cfg, &con), PVV_OK);
	assert_int_equal(config_add_console(cfg, &con), PVV_ELIMIT);
	assert_int_equal(config_add_interface(cfg, &net), PVV_OK);
	for (unsigned int i = 0; i < CONFIG_MAX_IPS; i++)
		assert_int_equal(config_add_ip(net, &ip), PVV_OK);
	assert_int_equal(config_add_ip(net, &ip), PVV_ELIMIT);
	assert_int_equal(config_add_forward(net, &fwd), PVV_OK);
	for (unsigned int i = 0; i < CONFIG_MAX_FORWARDS; i++)
		assert_int_equal(config_add_port_range(fwd, &range), PVV_OK);
	assert_int_equal(config_add_port_range(fwd, &range), PVV_ELIMIT);
	config_free(cfg);
}

static void assert_vdev(const char *name, uint32_t expected)
{
	uint32_t vdev = 0;

	print_message("%s\n", name);
	assert_int_equal(config_disk_vdev(name, &vdev), PVV_OK);
	assert_int_equal(vdev, expected);
}

static void test_vdev(void **state)
{
	static const char *const wrong[] = {
		"",	 "xvd",	      "xvd1",	"xvdA",	   "vda",    "sdq",
		"hde",	 "xvda0",     "xvda01", "xvda256", "xvda1x", "xvdaaaaa",
		"xvda ", "ioemu:hda", "sda16",	"hda64",   "xvda-1", "xvda4294967297",
	};
	uint32_t vdev;

	assert_vdev("xvda", 51712);
	assert_vdev("xvda1", 51713);
	assert_vdev("xvdb", 51728);
	assert_vdev("xvdp15", 51967);
	assert_vdev("xvdq", 1u << 28 | 16 << 8);
	assert_vdev("xvda16", 1u << 28 | 16);
	assert_vdev("xvdz255", 1u << 28 | 25 << 8 | 255);
	assert_vdev("xvdaa", 1u << 28 | 26 << 8);
	assert_vdev("xvdba3", 1u << 28 | 52 << 8 | 3);
	assert_vdev("xvdzz", 1u << 28 | 701 << 8);
	assert_vdev("sda", 8 << 8);
	assert_vdev("sdp15", 8 << 8 | 255);
	assert_vdev("hda", 3 << 8);
	assert_vdev("hdb1", 3 << 8 | 65);
	assert_vdev("hdd63", 22 << 8 | 127);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		print_message("%s\n", wrong[i]);
		assert_int_equal(config_disk_vdev(wrong[i], &vdev), PVV_EINVAL);
	}
}

static void assert_cpuset(const char *text, const char *expected)
{
	struct config_cpuset set;

	assert_int_equal(config_cpuset_parse(text, &set), PVV_OK);
	char *out = config_cpuset_format(&set);
	assert_string_equal(out, expected);
	free(out);
}

static void test_cpuset(void **state)
{
	static const char *const wrong[] = {
		"",	  ",",	 "1,",	 "-1", "1-", "3-1",  "1024",
		"0-1024", "a",	 "1;2",	 "^1", "^",  "1,,2", "18446744073709551617",
		"0x1",	  "1 2", "^0-1",
	};
	struct config_cpuset set = {{0}};

	assert_cpuset("0", "0");
	assert_cpuset("3,1,2", "1-3");
	assert_cpuset(" 0-3 , ^2 , 8 ", "0-1,3,8");
	assert_cpuset("63-64", "63-64");
	assert_cpuset("1023", "1023");
	assert_cpuset("0-1023,^512", "0-511,513-1023");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		print_message("%s\n", wrong[i]);
		assert_int_equal(config_cpuset_parse(wrong[i], &set), PVV_EINVAL);
	}
	assert_true(config_cpuset_empty(&set));
	config_cpuset_set(&set, 1024, true);
	assert_true(config_cpuset_empty(&set));
	assert_false(config_cpuset_has(&set, 1024));
	config_cpuset_set(&set, 77, true);
	assert_true(config_cpuset_has(&set, 77));
	config_cpuset_set(&set, 77, false);
	assert_true(config_cpuset_empty(&set));
}

static void test_affinity(void **state)
{
	struct config *cfg = least();
	struct config_vcpupin *pin;

	assert_null(config_vcpu_affinity(cfg, 0));
	cfg->has_cpuset = true;
	config_cpuset_set(&cfg->cpuset, 5, true);
	assert_ptr_equal(config_vcpu_affinity(cfg, 0), &cfg->cpuset);
	assert_int_equal(config_add_vcpupin(cfg, &pin), PVV_OK);
	pin->vcpu = 1;
	config_cpuset_set(&pin->cpus, 6, true);
	assert_ptr_equal(config_vcpu_affinity(cfg, 1), &pin->cpus);
	assert_ptr_equal(config_vcpu_affinity(cfg, 0), &cfg->cpuset);
	config_free(cfg);
}

static void test_text_forms(void **state)
{
	uint8_t uuid[16], mac[6] = {0};
	char text[37];
	enum config_executor executor;
	uint64_t size;

	assert_true(config_uuid_parse("039e9ee6-4a84-3055-4c81-8ba426ae2656", uuid));
	config_uuid_format(uuid, text);
	assert_string_equal(text, "039e9ee6-4a84-3055-4c81-8ba426ae2656");
	assert_true(config_uuid_parse("039E9EE64A8430554C818BA426AE2656", uuid));
	assert_false(config_uuid_parse("", uuid));
	assert_false(config_uuid_parse("039e9ee6-4a84-3055-4c81-8ba426ae265g", uuid));
	assert_false(config_uuid_parse("039e9ee6-4a84-3055-4c818ba426ae2656a", uuid));
	assert_true(config_mac_parse("00:16:3E:ff:00:aB", mac));
	config_mac_format(mac, text);
	assert_string_equal(text, "00:16:3e:ff:00:ab");
	assert_false(config_mac_parse("00-16-3e-ff-00-ab", mac));
	assert_false(config_mac_parse("00:16:3e:ff:00:a", mac));
	assert_false(config_mac_parse("00:16:3e:ff:00:ab:", mac));

	assert_string_equal(config_action_name(CONFIG_ACTION_COREDUMP_RESTART), "coredump-restart");
	assert_null(config_action_name(6));
	assert_null(config_action_name(-1));
	assert_string_equal(config_executor_name(CONFIG_EXECUTOR_KVM), "kvm");
	assert_null(config_executor_name(3));
	assert_true(config_executor_parse("ring3", &executor));
	assert_int_equal(executor, CONFIG_EXECUTOR_RING3);
	assert_false(config_executor_parse("Ring3", &executor));

	assert_true(config_round_memory(0, &size) && size == 0);
	assert_true(config_round_memory(1, &size) && size == 1 << 20);
	assert_true(config_round_memory(1 << 20, &size) && size == 1 << 20);
	assert_false(config_round_memory(UINT64_MAX - 5, &size));
}

static void test_clock(void **state)
{
	const int64_t s = 1000000000;
	struct config_clock c = {.offset = CONFIG_CLOCK_UTC};

	assert_int_equal(config_clock_offset_ns(&c, 1700000000), 0);
	c.adjustment_reset = true;
	assert_int_equal(config_clock_offset_ns(&c, 1700000000), 0);
	c = (struct config_clock){
		.offset = CONFIG_CLOCK_VARIABLE, .has_adjustment = true, .adjustment = -3600};
	assert_int_equal(config_clock_offset_ns(&c, 1700000000), -3600 * s);
	c = (struct config_clock){.offset = CONFIG_CLOCK_ABSOLUTE, .start = 1000};
	assert_int_equal(config_clock_offset_ns(&c, 1700000000), -1699999000 * s);
	c.start = 4000000000u;
	assert_int_equal(config_clock_offset_ns(&c, 0), 4000000000 * s);

	/* Of a zone without rules, then of one that has summer time. */
	setenv("TZ", "XYZ-5:30", 1);
	tzset();
	c = (struct config_clock){.offset = CONFIG_CLOCK_LOCALTIME};
	assert_int_equal(config_clock_offset_ns(&c, 1700000000), 19800 * s);
	c = (struct config_clock){.offset = CONFIG_CLOCK_VARIABLE,
				  .basis_localtime = true,
				  .has_adjustment = true,
				  .adjustment = 200};
	assert_int_equal(config_clock_offset_ns(&c, 1700000000), 20000 * s);
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	c = (struct config_clock){.offset = CONFIG_CLOCK_LOCALTIME};
	assert_int_equal(config_clock_offset_ns(&c, 1700000000), 3600 * s);
	assert_int_equal(config_clock_offset_ns(&c, 1690000000), 7200 * s);
	unsetenv("TZ");
	tzset();
}

static void test_utf8(void **state)
{
	uint32_t c;

	assert_int_equal(utf8_char("\xf0\x9f\x98\x80", 4, &c), 4);
	assert_int_equal(c, 0x1f600);
	assert_int_equal(utf8_char("\xf0\x9f\x98", 3, &c), 0);
	assert_int_equal(utf8_char("", 0, &c), 0);
	assert_int_equal(utf8_check("ab\x80", 3), 2);
	assert_true(utf8_valid("\xef\xbf\xbd\xf4\x8f\xbf\xbf", 7));
	assert_false(utf8_valid("\xe0\x80\x80", 3));
	assert_false(utf8_valid("\xf0\x80\x80\x80", 4));
	assert_false(utf8_valid("\xf8\x88\x80\x80\x80", 5));
}

static void test_strbuf(void **state)
{
	struct strbuf sb = STRBUF_INIT;
	char big[3000];

	char *s = strbuf_take(&sb);
	assert_string_equal(s, "");
	free(s);
	memset(big, 'x', sizeof(big));
	strbuf_add(&sb, big, sizeof(big));
	strbuf_printf(&sb, "%s-%d", "", 5);
	assert_int_equal(sb.len, 3002);
	assert_string_equal(sb.s + 2999, "x-5");
	strbuf_truncate(&sb, 5000);
	assert_int_equal(sb.len, 3002);
	strbuf_truncate(&sb, 2);
	strbuf_putc(&sb, 'y');
	strbuf_puts(&sb, "z");
	s = strbuf_take(&sb);
	assert_string_equal(s, "xxyz");
	assert_null(sb.s);
	free(s);
	strbuf_puts(&sb, "again");
	strbuf_clear(&sb);
	assert_int_equal(sb.len, 0);
}

/* ---- what config_check() says about configurations that were never XML ---- */

static struct config *broken; /* as least(), for a case to break */

static void assert_check(int code, const char *message)
{
	char *text;

	int r = config_check(broken);
	if (r == PVV_OK)
		fail_msg("accepted instead of: %s", message);
	assert_string_equal(pvv_error_get_message(pvv_error_last()), message);
	assert_int_equal(r, code);
	/* The formatter checks before it writes. */
	assert_int_equal(xml_format(broken, &text), code);
	assert_null(text);
	config_free(broken);
	broken = least();
}

static void test_check(void **state)
{
	broken = least();
	config_set_string(&broken->name, NULL);
	assert_check(PVV_EINVAL, "<name> is missing or empty");
	config_set_string(&broken->name, "\xff");
	assert_check(PVV_EINVAL, "<name> is not valid UTF-8");
	config_set_string(&broken->kernel, "k");
	assert_check(PVV_EINVAL, "<os> kernel 'k' is not an absolute path");
	config_set_string(&broken->kernel, NULL);
	config_set_string(&broken->initrd, "/i");
	assert_check(PVV_EINVAL, "<os> <initrd> without <kernel>");
	broken->memory = 0;
	assert_check(PVV_EINVAL, "<memory> is missing or zero");
	broken->memory = (64 << 20) + 1;
	assert_check(PVV_EINVAL, "<memory> 67108865 bytes is not a whole number of MiB");
	broken->memory = 1ull << 41;
	assert_check(PVV_ELIMIT, "<memory> 2097152 MiB is more than 1048576 MiB");
	broken->current_memory = 65 << 20;
	assert_check(PVV_EINVAL, "<memory> is 64 MiB, less than currentMemory's 65 MiB");
	broken->max_memory_slots = 1;
	assert_check(PVV_EINVAL, "<memory> has slots but no maxMemory");
	broken->vcpus = 33;
	assert_check(PVV_ELIMIT, "<vcpu> 33: a domain has at most 32 vCPUs");
	broken->vcpus_online = 2;
	assert_check(PVV_EINVAL, "<vcpu> current='2' is more than the maximum of 1");
	broken->has_cpuset = true;
	assert_check(PVV_EINVAL, "<vcpu> cpuset leaves no CPU");
	broken->shares = 1;
	assert_check(PVV_EINVAL, "<cputune> shares 1 is not within 2..262144");
	broken->on_reboot = CONFIG_ACTION_COREDUMP_RESTART;
	assert_check(PVV_EINVAL, "on_reboot: unknown action 5");
	broken->executor = 3;
	assert_check(PVV_EINVAL, "executor: unknown number 3");
	broken->clock.adjustment = 1;
	assert_check(PVV_EINVAL, "<clock> adjustment without has_adjustment set");
	broken->clock.offset = 9;
	assert_check(PVV_EINVAL, "<clock> offset 9 is unknown");
	broken->clock.start = 1;
	assert_check(PVV_EINVAL, "<clock> start belongs to offset 'absolute'");
	broken->clock.basis_localtime = true;
	assert_check(PVV_EINVAL, "<clock> basis belongs to offset 'variable'");
	broken->e820_host = CONFIG_ON;
	assert_check(PVV_EINVAL, "<features> xen: set without has_xen_features");
	broken->limits.code_cache = 5;
	assert_check(PVV_EINVAL,
		     "<limits> codeCache: 5 bytes is not a whole number of MiB up to 1048576");
	config_free(broken);
}

static struct config_disk *add_disk(const char *target, const char *source)
{
	struct config_disk *disk;

	assert_int_equal(config_add_disk(broken, &disk), PVV_OK);
	config_set_string(&disk->target, target);
	config_set_string(&disk->source, source);
	return disk;
}

static void test_check_devices(void **state)
{
	struct config_vcpupin *pin;
	struct config_interface *net;
	struct config_console *con;
	struct config_channel *chan;

	broken = least();
	add_disk(NULL, "/a");
	assert_check(PVV_EINVAL, "<disk> has no target");
	add_disk("xvda", "/a")->cache = 17;
	assert_check(PVV_EINVAL, "<disk> target 'xvda': an enumeration is out of range");
	add_disk("xvda", "/a")->device = CONFIG_DISK_CDROM;
	assert_check(PVV_EINVAL, "<disk> target 'xvda': a cdrom is read-only");
	add_disk("xvda", "/a");
	add_disk("xvda", "/b");
	assert_check(PVV_EINVAL, "<disk> target 'xvda' is used twice");
	assert_int_equal(config_add_vcpupin(broken, &pin), PVV_OK);
	pin->vcpu = 1;
	assert_check(PVV_EINVAL, "<cputune> vcpupin vcpu='1': the domain has 1 vCPUs");
	assert_int_equal(config_add_interface(broken, &net), PVV_OK);
	net->type = CONFIG_NET_ETHERNET;
	config_set_string(&net->source, "x");
	assert_check(PVV_EINVAL, "<interface> type 'ethernet' has no source");
	assert_int_equal(config_add_console(broken, &con), PVV_OK);
	con->chr.type = CONFIG_CHR_FD;
	assert_check(PVV_EINVAL, "<console> a descriptor and its type belong together");
	assert_int_equal(config_add_console(broken, &con), PVV_OK);
	con->chr.listen = true;
	assert_check(PVV_EINVAL, "<console> mode='bind' belongs to types unix and tcp");
	assert_int_equal(config_add_console(broken, &con), PVV_OK);
	assert_int_equal(config_add_console(broken, &con), PVV_OK);
	assert_check(PVV_EINVAL, "<console> port '0' is used twice");
	assert_int_equal(config_add_channel(broken, &chan), PVV_OK);
	assert_check(PVV_EINVAL, "<channel> has no name");
	assert_int_equal(config_add_channel(broken, &chan), PVV_OK);
	config_set_string(&chan->name, "a\nb");
	assert_check(PVV_EINVAL, "<channel> name contains a control character");
	config_free(broken);
}

static void test_startable(void **state)
{
	struct config *cfg = least();
	struct config_disk *disk;

	assert_int_equal(config_check_startable(cfg), PVV_OK);
	config_set_string(&cfg->kernel, NULL);
	assert_int_equal(config_check_startable(cfg), PVV_EINVAL);
	assert_string_equal(pvv_error_get_message(pvv_error_last()),
			    "<os> names neither a kernel nor a bootloader");
	cfg->kernel_fd = CONFIG_FD_PENDING;
	assert_int_equal(config_check_startable(cfg), PVV_EINVAL);
	assert_string_equal(pvv_error_get_message(pvv_error_last()),
			    "<os>: the descriptor of the kernel has not been supplied");
	cfg->kernel_fd = CONFIG_FD_NONE;
	config_set_string(&cfg->bootloader, "pygrub");
	assert_int_equal(config_check_startable(cfg), PVV_OK);
	assert_int_equal(config_add_disk(cfg, &disk), PVV_OK);
	config_set_string(&disk->target, "xvda");
	config_set_string(&disk->source, "/a");
	config_set_string(&disk->format, "qcow2");
	assert_int_equal(config_check_startable(cfg), PVV_EUNSUPPORTED);
	assert_string_equal(
		pvv_error_get_message(pvv_error_last()),
		"<disk> target 'xvda': format 'qcow2' is not supported (convert it with "
		"'qemu-img convert -O raw')");
	config_set_string(&disk->format, "raw");
	disk->fd = CONFIG_FD_PENDING;
	assert_int_equal(config_check_startable(cfg), PVV_EINVAL);
	config_free(cfg);
}

/* Strings of a C program that XML cannot hold, or that would break out of their place. */
static void test_format_refuses(void **state)
{
	static const char *const bad_metadata[] = {
		"<a>",
		"</metadata><os/>",
		"<a></b>",
		"<a/></opaque><opaque>",
		"<!DOCTYPE x><a/>",
		"<a>&x;</a>",
		"<p:a/>",
		"<a xmlns='" NS "'/>",
		"\xff",
	};
	static const char *const bad_seclabels[] = {
		"", "x", "<a/>", "<seclabel/><seclabel/>", "<seclabel>", "x<seclabel/>",
	};
	struct config *cfg = least();
	char *text;

	config_set_string(&cfg->description, "bell\a");
	assert_int_equal(xml_format(cfg, &text), PVV_EINVAL);
	assert_string_equal(
		pvv_error_get_message(pvv_error_last()),
		"'description' holds something that XML cannot express (not UTF-8, or a "
		"control character)");
	config_set_string(&cfg->description, "\xef\xbf\xbe");
	assert_int_equal(xml_format(cfg, &text), PVV_EINVAL);
	config_set_string(&cfg->description, NULL);
	config_set_string(&cfg->kernel, "/\xe9");
	assert_int_equal(xml_format(cfg, &text), PVV_EINVAL);
	config_set_string(&cfg->kernel, "/k");

	for (size_t i = 0; i < sizeof(bad_metadata) / sizeof(bad_metadata[0]); i++) {
		print_message("metadata %s\n", bad_metadata[i]);
		config_set_string(&cfg->metadata, bad_metadata[i]);
		assert_int_equal(xml_format(cfg, &text), PVV_EINVAL);
		assert_null(text);
	}
	config_set_string(&cfg->metadata, NULL);
	for (size_t i = 0; i < sizeof(bad_seclabels) / sizeof(bad_seclabels[0]); i++) {
		struct config *copy;

		print_message("seclabel %s\n", bad_seclabels[i]);
		assert_int_equal(config_copy(cfg, &copy), PVV_OK);
		assert_int_equal(config_add_seclabel(copy, bad_seclabels[i]), PVV_OK);
		assert_int_equal(xml_format(copy, &text), PVV_EINVAL);
		assert_null(text);
		config_free(copy);
	}
	config_free(cfg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),	cmocka_unit_test(test_complete),
		cmocka_unit_test(test_mac_collision),	cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_limits_of_lists), cmocka_unit_test(test_vdev),
		cmocka_unit_test(test_cpuset),		cmocka_unit_test(test_affinity),
		cmocka_unit_test(test_text_forms),	cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_strbuf),		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_check),		cmocka_unit_test(test_check_devices),
		cmocka_unit_test(test_startable),	cmocka_unit_test(test_format_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
