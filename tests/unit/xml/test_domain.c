/* SPDX-License-Identifier: MIT */
/* The elements of <domain> other than devices: accepted, refused with exact words, warned about. */
#include "harness.h"

#include <stdio.h>
#include <string.h>

#define UUID "039e9ee6-4a84-3055-4c81-8ba426ae2656"

/* A document with a given <os> part on line 4. */
#define OS(os) "<domain type='xen'>\n<name>d</name>\n<memory>65536</memory>\n" os "\n</domain>\n"
/* With a given <name> or <memory> part on line 2 or 3. */
#define NAME(name)                                                                                 \
	"<domain type='xen'>\n" name "\n<memory>65536</memory>\n<bootloader/>\n</domain>\n"
#define MEMORY(memory) "<domain type='xen'>\n<name>d</name>\n" memory "\n<bootloader/>\n</domain>\n"

static void test_root(void **state)
{
	static const struct xml_case cases[] = {
		{"least document", NAME("<name>d</name>"), .contains = "<name>d</name>"},
		{"our own type is written as xen",
		 "<domain type='pvvirt'><name>d</name><memory>1024</memory><bootloader/></domain>",
		 .contains = "<domain type='xen'>"},
		{"byte order mark",
		 "\xef\xbb\xbf<domain type='xen'><name>d</name><memory>1024</memory><bootloader/>"
		 "</domain>"},
		{"XML declaration, comments and processing instructions",
		 "<?xml version='1.0' encoding='utf-8'?>\n<!-- a -->\n<?x y?>"
		 "<domain type='xen'><name>d</name><!-- <b> --><memory>1024</memory><bootloader/>"
		 "</domain><!-- c -->\n"},
		{"other root", "<domainsnapshot/>", "1:1: <domainsnapshot> is not a <domain>"},
		{"other namespace", "<domain xmlns='urn:x' type='xen'/>",
		 "1:1: <domain> is not a <domain> (it is of another namespace)"},
		{"no type", "<domain/>", "1:1: <domain> lacks the attribute 'type'"},
		{"empty type", "<domain type=''/>", "1:9: <domain> attribute 'type' is empty"},
		{"kvm", "<domain type='kvm'/>",
		 "1:9: <domain> type 'kvm' is not supported (use 'xen')", PVV_EUNSUPPORTED},
		{"running domain's id",
		 "<domain type='xen' id='7'><name>d</name><memory>1024</memory>"
		 "<bootloader/></domain>",
		 .warnings = "1:20: <domain> attribute 'id' is ignored"},
		{"unknown element", EXTRA("<foo><bar baz='1'/></foo>"),
		 .warnings = "5:1: <foo> is ignored"},
		{"unknown elements of a namespace",
		 EXTRA("<q:commandline xmlns:q='urn:q'><q:arg value='-S'/></q:commandline>"),
		 .warnings = "5:1: <q:commandline> is ignored"},
		{"stray text", EXTRA("hello"), .warnings = "1:1: <domain> text in it is ignored"},
		{"elements with reasons", EXTRA("<sysinfo type='smbios'/><cpu mode='host-model'/>"),
		 .warnings = "5:1: <sysinfo> is ignored (a PV domain has no SMBIOS)\n"
			     "5:25: <cpu> is ignored (the guest sees the host's processor)"},
		{"launchSecurity", EXTRA("<launchSecurity type='sev'/>"),
		 "5:1: <launchSecurity> is not supported (memory would not be protected from the "
		 "host)",
		 PVV_EUNSUPPORTED},
		{"attribute of a namespace",
		 "<domain type='xen' xmlns:x='urn:x' x:type='y'><name>d</name><memory>1024</memory>"
		 "<bootloader/></domain>",
		 .warnings = "1:36: <domain> attribute 'x:type' is ignored"},
	};

	RUN_CASES(cases);
}

static void test_general(void **state)
{
	static const struct xml_case cases[] = {
		{"name in UTF-8", NAME("<name>d\xc3\xa9j\xc3\xa0 vu</name>"),
		 .contains = "<name>d\xc3\xa9j\xc3\xa0 vu</name>"},
		{"name with escapes", NAME("<name>a&amp;b&lt;c&gt;&#39;&quot;</name>"),
		 .contains = "<name>a&amp;b&lt;c&gt;'\"</name>"},
		{"name in CDATA", NAME("<name><![CDATA[a&b]]></name>"),
		 .contains = "<name>a&amp;b</name>"},
		{"name around a comment", NAME("<name>a<!-- x -->b</name>"),
		 .contains = "<name>ab</name>"},
		{"no name", NAME(""), "1:1: <domain> lacks <name>"},
		{"empty name", NAME("<name/>"), "2:1: <name> is missing or empty"},
		{"two names", NAME("<name>a</name><name>b</name>"),
		 "2:15: <name> appears twice in <domain> (first on line 2)"},
		{"slash", NAME("<name>a/b</name>"), "2:1: <name> 'a/b' contains '/'"},
		{"line break", NAME("<name>a\nb</name>"),
		 "2:1: <name> contains a control character"},
		{"blanks", NAME("<name>  </name>"), "2:1: <name> consists of blanks"},
		{"dots", NAME("<name>..</name>"), "2:1: <name> '..' is not allowed"},
		{"element in name", NAME("<name>a<b/></name>"), .warnings = "2:8: <b> is ignored",
		 .contains = "<name>a</name>"},
		{"attribute of name", NAME("<name  lang='de'>a</name>"),
		 .warnings = "2:8: <name> attribute 'lang' is ignored"},
		{"uuid", EXTRA("<uuid> " UUID "\n</uuid>"), .contains = "<uuid>" UUID "</uuid>"},
		{"uuid without dashes, capitals",
		 EXTRA("<uuid>039E9EE64A8430554C818BA426AE2656</uuid>"),
		 .contains = "<uuid>" UUID "</uuid>"},
		{"bad uuid", EXTRA("<uuid>039e9ee6-4a84-3055-4c81</uuid>"),
		 "5:1: <uuid> '039e9ee6-4a84-3055-4c81' is not a uuid"},
		{"uuid with its dashes elsewhere",
		 EXTRA("<uuid>039e9ee64-a84-3055-4c81-8ba426ae2656</uuid>"),
		 "5:1: <uuid> '039e9ee64-a84-3055-4c81-8ba426ae2656' is not a uuid"},
		{"title and description",
		 EXTRA("<description>two\nlines</description><title>T</title>"),
		 .contains = "<title>T</title>\n<description>two\nlines</description>"},
		{"empty title", EXTRA("<title/><description></description>")},
		{"title of two lines", EXTRA("<title>a\nb</title>"),
		 "5:1: <title> has more than one line"},
		{"genid", EXTRA("<genid>" UUID "</genid>"), .warnings = "5:1: <genid> is ignored"},
	};

	RUN_CASES(cases);
}

static void test_os(void **state)
{
	static const struct xml_case cases[] = {
		{"direct boot",
		 OS("<os><type>xen</type><kernel>/boot/k</kernel><initrd>/boot/i</initrd>"
		    "<cmdline>root=/dev/xvda1 ro  'a' \"b\"</cmdline></os>"),
		 .contains = "<os>\n<type arch='x86_64' machine='xenpv'>linux</type>\n"
			     "<kernel>/boot/k</kernel>\n<initrd>/boot/i</initrd>\n"
			     "<cmdline>root=/dev/xvda1 ro  'a' \"b\"</cmdline>\n</os>"},
		{"bootloader",
		 OS("<bootloader>pygrub</bootloader><bootloader_args>-q"
		    "</bootloader_args><os><type>linux</type></os>"),
		 .contains =
			 "<bootloader>pygrub</bootloader>\n<bootloader_args>-q</bootloader_args>"},
		{"bootloader without os", OS("<bootloader>/usr/bin/pygrub</bootloader>"),
		 .contains = "<bootloader>/usr/bin/pygrub</bootloader>"},
		{"default bootloader", OS("<bootloader/>"),
		 .contains = "<bootloader>pygrub</bootloader>"},
		{"neither kernel nor bootloader is for start to refuse",
		 OS("<os><type machine='xenpv'>linux</type></os>")},
		{"kernel and bootloader",
		 OS("<bootloader>pygrub</bootloader><os><type>linux</type><kernel>/k</kernel></"
		    "os>"),
		 .warnings = "4:1: <bootloader> is ignored (there is a <kernel>)",
		 .contains = "<kernel>/k</kernel>"},
		{"no os", OS(""), "1:1: <domain> lacks <os>"},
		{"no type", OS("<os/>"), "4:1: <os> lacks <type>"},
		{"hvm", OS("<os><type>hvm</type></os>"),
		 "4:5: <type> 'hvm': fully virtualized domains are not supported (use 'linux' with "
		 "machine='xenpv')",
		 PVV_EUNSUPPORTED},
		{"xenfv", OS("<os><type machine='xenfv'>linux</type></os>"),
		 "4:11: <type> machine 'xenfv': fully virtualized domains are not supported (use "
		 "'xenpv')",
		 PVV_EUNSUPPORTED},
		{"hvm with xenfv", OS("<os><type arch='x86_64' machine='xenfv'>hvm</type></os>"),
		 "4:5: <type> 'hvm': fully virtualized domains are not supported (use 'linux' with "
		 "machine='xenpv')",
		 PVV_EUNSUPPORTED},
		{"xenpvh by type", OS("<os><type machine='xenpvh'>xenpvh</type></os>"),
		 "4:5: <type> 'xenpvh': PVH domains are not supported (use 'linux' with "
		 "machine='xenpv')",
		 PVV_EUNSUPPORTED},
		{"xenpvh by machine", OS("<os><type machine='xenpvh'>linux</type></os>"),
		 "4:11: <type> machine 'xenpvh': PVH domains are not supported (use 'xenpv')",
		 PVV_EUNSUPPORTED},
		{"exe", OS("<os><type>exe</type></os>"),
		 "4:5: <type> 'exe' is not supported (use 'linux' or 'xen')", PVV_EUNSUPPORTED},
		{"machine q35", OS("<os><type machine='q35'>linux</type></os>"),
		 "4:11: <type> machine 'q35' is not supported (use 'xenpv')", PVV_EUNSUPPORTED},
		{"i686", OS("<os><type arch='i686'>linux</type></os>"),
		 "4:11: <type> arch 'i686' is not supported (use 'x86_64')", PVV_EUNSUPPORTED},
		{"relative kernel", OS("<os><type>linux</type><kernel>vmlinuz</kernel></os>"),
		 "4:23: <kernel> path 'vmlinuz' is not an absolute path"},
		{"initrd without kernel",
		 OS("<bootloader/><os><type>xen</type><initrd>/i</initrd></os>"),
		 "4:34: <initrd> needs a <kernel>"},
		{"two kernels",
		 OS("<os><type>linux</type><kernel>/a</kernel>\n<kernel>/b</kernel></os>"),
		 "5:1: <kernel> appears twice in <os> (first on line 4)"},
		{"firmware",
		 OS("<os><type>linux</type><kernel>/k</kernel><loader>/f</loader><boot dev='hd'/>"
		    "</os>"),
		 .warnings =
			 "4:42: <loader> is ignored (a PV domain has no firmware)\n"
			 "4:61: <boot> is ignored (the kernel or PV GRUB decides what is booted)"},
	};

	RUN_CASES(cases);
}

static void test_long_cmdline(void **state)
{
	static const char before[] = "<os><type>linux</type><kernel>/k</kernel><cmdline>";
	char xml[4096], options[1100];
	struct config *cfg;

	memset(options, 'x', sizeof(options));
	snprintf(xml, sizeof(xml),
		 "<domain "
		 "type='xen'><name>d</name><memory>1024</memory>%s%.*s</cmdline></os></domain>",
		 before, 1023, options);
	cfg = parse_ok(xml);
	assert_int_equal(strlen(cfg->cmdline), 1023);
	config_free(cfg);
	snprintf(xml, sizeof(xml),
		 "<domain "
		 "type='xen'><name>d</name><memory>1024</memory>%s%.*s</cmdline></os></domain>",
		 before, 1024, options);
	assert_int_equal(xml_parse(xml, strlen(xml), NULL, 0, &cfg, NULL), PVV_ELIMIT);
	assert_string_equal(pvv_error_get_message(pvv_error_last()),
			    "domain.xml:1:96: <cmdline> is 1024 bytes long; start_info holds at "
			    "most 1023");
}

static void test_memory(void **state)
{
	static const struct xml_case cases[] = {
		{"KiB is the default", MEMORY("<memory>524288</memory>"),
		 .contains = "<memory unit='KiB'>524288</memory>"},
		{"rounded up to MiB", MEMORY("<memory>524289</memory>"),
		 .contains = "<memory unit='KiB'>525312</memory>"},
		{"one byte is a MiB", MEMORY("<memory unit='b'>1</memory>"),
		 .contains = "<memory unit='KiB'>1024</memory>"},
		{"bytes", MEMORY("<memory unit='bytes'>1048577</memory>"),
		 .contains = "<memory unit='KiB'>2048</memory>"},
		{"KB is 1000", MEMORY("<memory unit='KB'>1049</memory>"),
		 .contains = "<memory unit='KiB'>2048</memory>"},
		{"M is MiB", MEMORY("<memory unit='M'> 3 </memory>"),
		 .contains = "<memory unit='KiB'>3072</memory>"},
		{"MB is a million", MEMORY("<memory unit='MB'>1</memory>"),
		 .contains = "<memory unit='KiB'>1024</memory>"},
		{"G", MEMORY("<memory unit='gib'>2</memory>"),
		 .contains = "<memory unit='KiB'>2097152</memory>"},
		{"T", MEMORY("<memory unit='TiB'>1</memory>"),
		 .contains = "<memory unit='KiB'>1073741824</memory>"},
		{"E", MEMORY("<memory unit='e'>0</memory>"), "3:1: <memory> is missing or zero"},
		{"k", MEMORY("<memory unit='KIB'>1025</memory>"),
		 .contains = "<memory unit='KiB'>2048</memory>"},
		{"unit with a tail", MEMORY("<memory unit='KiBs'>2</memory>"),
		 "3:9: <memory> unit 'KiBs' is unknown (use 'b', 'KiB', 'MiB', 'GiB', ...)"},
		{"balloon target",
		 MEMORY("<memory>592896</memory><currentMemory unit='MiB'>394</currentMemory>"),
		 .contains = "<memory unit='KiB'>592896</memory>\n"
			     "<currentMemory unit='KiB'>403456</currentMemory>"},
		{"target above", MEMORY("<memory>2048</memory><currentMemory>4096</currentMemory>"),
		 .warnings = "3:22: <currentMemory> is more than <memory> and reduced to it",
		 .contains = "<currentMemory unit='KiB'>2048</currentMemory>"},
		{"maxMemory",
		 MEMORY("<maxMemory slots='4' unit='GiB'>1</maxMemory><memory>2048</memory>"),
		 .contains = "<maxMemory slots='4' unit='KiB'>1048576</maxMemory>\n"
			     "<memory unit='KiB'>2048</memory>"},
		{"maxMemory below",
		 MEMORY("<maxMemory slots='4'>1024</maxMemory><memory>2048</memory>"),
		 "3:38: <memory> is 2 MiB, more than maxMemory's 1 MiB"},
		{"none", MEMORY(""), "1:1: <domain> lacks <memory>"},
		{"zero", MEMORY("<memory>0</memory>"), "3:1: <memory> is missing or zero"},
		{"empty", MEMORY("<memory/>"), "3:1: <memory> '' is not a decimal number"},
		{"negative", MEMORY("<memory>-1</memory>"),
		 "3:1: <memory> '-1' is not a decimal number"},
		{"hexadecimal", MEMORY("<memory>0x400</memory>"),
		 "3:1: <memory> '0x400' is not a decimal number"},
		{"fraction", MEMORY("<memory unit='GiB'>1.5</memory>"),
		 "3:1: <memory> '1.5' is not a decimal number"},
		{"two numbers", MEMORY("<memory>1 2</memory>"),
		 "3:1: <memory> '1 2' is not a decimal number"},
		{"more than 64 bits", MEMORY("<memory>18446744073709551616</memory>"),
		 "3:1: <memory> '18446744073709551616' is more than 18446744073709551615"},
		{"overflow by the unit", MEMORY("<memory>18446744073709551615</memory>"),
		 "3:1: <memory> 18446744073709551615 KiB is too large"},
		{"overflow by rounding", MEMORY("<memory unit='b'>18446744073709551615</memory>"),
		 "3:1: <memory> 18446744073709551615 b is too large"},
		{"16 EiB", MEMORY("<memory unit='EiB'>16</memory>"),
		 "3:1: <memory> 16 EiB is too large"},
		{"above the limit", MEMORY("<memory unit='TiB'>2</memory>"),
		 "3:1: <memory> 2097152 MiB is more than 1048576 MiB", PVV_ELIMIT},
		{"unknown unit", MEMORY("<memory unit='pages'>2</memory>"),
		 "3:9: <memory> unit 'pages' is unknown (use 'b', 'KiB', 'MiB', 'GiB', ...)"},
		{"empty unit", MEMORY("<memory unit=''>2</memory>"),
		 "3:9: <memory> unit '' is unknown (use 'b', 'KiB', 'MiB', 'GiB', ...)"},
		{"two", MEMORY("<memory>2048</memory><memory>2048</memory>"),
		 "3:22: <memory> appears twice in <domain> (first on line 3)"},
		{"dumpCore", MEMORY("<memory dumpCore='on'>2048</memory>"),
		 .warnings = "3:9: <memory> attribute 'dumpCore' is ignored"},
		{"memoryBacking", EXTRA("<memoryBacking><locked/></memoryBacking>"),
		 .warnings = "5:1: <memoryBacking> is ignored (memory is one memfd)"},
	};

	RUN_CASES(cases);
}

static void test_cpu(void **state)
{
	static const struct xml_case cases[] = {
		{"default", EXTRA(""), .contains = "<vcpu placement='static'>1</vcpu>"},
		{"maximum", EXTRA("<vcpu>32</vcpu>"),
		 .contains = "<vcpu placement='static'>32</vcpu>"},
		{"current and cpuset",
		 EXTRA("<vcpu placement='static' cpuset='0-3,^1,8' current='2'>4</vcpu>"),
		 .contains = "<vcpu placement='static' cpuset='0,2-3,8' current='2'>4</vcpu>"},
		{"all of them", EXTRA("<vcpu current='4'>4</vcpu>"),
		 .contains = "<vcpu placement='static'>4</vcpu>"},
		{"too many", EXTRA("<vcpu>33</vcpu>"),
		 "5:1: <vcpu> 33: a domain has at most 32 vCPUs", PVV_ELIMIT},
		{"none", EXTRA("<vcpu>0</vcpu>"), "5:1: <vcpu> 0: a domain has at least one vCPU"},
		{"huge", EXTRA("<vcpu>65536</vcpu>"), "5:1: <vcpu> '65536' is more than 65535"},
		{"word", EXTRA("<vcpu>two</vcpu>"), "5:1: <vcpu> 'two' is not a decimal number"},
		{"current too large", EXTRA("<vcpu current='3'>2</vcpu>"),
		 "5:1: <vcpu> current='3' is more than the maximum of 2"},
		{"current zero", EXTRA("<vcpu current='0'>2</vcpu>"),
		 "5:7: <vcpu> current='0': at least one vCPU is online"},
		{"placement auto", EXTRA("<vcpu placement='auto'>2</vcpu>"),
		 .warnings = "5:7: <vcpu> placement='auto' is ignored (the host's scheduler places "
			     "the vCPUs)"},
		{"placement", EXTRA("<vcpu placement='x'>2</vcpu>"),
		 "5:7: <vcpu> placement 'x' is not supported (use 'static' or 'auto')",
		 PVV_EUNSUPPORTED},
		{"cpuset garbage", EXTRA("<vcpu cpuset='0-'>2</vcpu>"),
		 "5:7: <vcpu> cpuset '0-' is not a list of CPUs below 1024 such as '0-3,^2,8'"},
		{"cpuset of nothing", EXTRA("<vcpu cpuset='1,^1'>2</vcpu>"),
		 "5:7: <vcpu> cpuset '1,^1' leaves no CPU"},
		{"quota", EXTRA("<cputune><period>100000</period><quota>50000</quota></cputune>"),
		 .warnings = "5:33: <quota> is kept, but without effect (only a cgroup of the "
			     "program's can cap processor time)",
		 .contains = "<quota>50000</quota>"},
		{"cputune",
		 EXTRA("<vcpu>4</vcpu><cputune><shares>2048</shares><period>100000</period>"
		       "<quota>-1</quota><vcpupin vcpu='3' cpuset='1'/>"
		       "<vcpupin vcpu='0' cpuset='0-1'/></cputune>"),
		 .contains = "<cputune>\n<shares>2048</shares>\n<period>100000</period>\n"
			     "<quota>-1</quota>\n<vcpupin vcpu='0' cpuset='0-1'/>\n"
			     "<vcpupin vcpu='3' cpuset='1'/>\n</cputune>"},
		{"pin of no vCPU", EXTRA("<cputune><vcpupin vcpu='1' cpuset='0'/></cputune>"),
		 .warnings = "5:10: <vcpupin> is ignored (the domain has no vCPU 1)"},
		{"two pins",
		 EXTRA("<cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='0' cpuset='1'/>"
		       "</cputune>"),
		 "5:40: <vcpupin> vcpu '0' appears twice"},
		{"pin without cpuset", EXTRA("<cputune><vcpupin vcpu='0'/></cputune>"),
		 "5:10: <vcpupin> lacks the attribute 'cpuset'"},
		{"pin without vcpu", EXTRA("<cputune><vcpupin cpuset='0'/></cputune>"),
		 "5:10: <vcpupin> lacks the attribute 'vcpu'"},
		{"shares", EXTRA("<cputune><shares>1</shares></cputune>"),
		 "5:10: <shares> 1 is not within 2..262144"},
		{"negative shares", EXTRA("<cputune><shares>-5</shares></cputune>"),
		 "5:10: <shares> -5 is not within 2..262144"},
		{"period", EXTRA("<cputune><period>10</period></cputune>"),
		 "5:10: <period> 10 is not within 1000..1000000 us"},
		{"quota", EXTRA("<cputune><quota>-2</quota></cputune>"),
		 "5:1: <cputune> quota -2 is neither -1 nor within 1000..17592186044415 us"},
		{"quota overflow", EXTRA("<cputune><quota>9223372036854775808</quota></cputune>"),
		 "5:10: <quota> '9223372036854775808' does not fit 64 bits"},
		{"others", EXTRA("<cputune><emulatorpin cpuset='1'/></cputune><vcpus/>"),
		 .warnings = "5:10: <emulatorpin> is ignored\n5:45: <vcpus> is ignored"},
	};

	RUN_CASES(cases);
}

static void test_events_clock_features(void **state)
{
	static const struct xml_case cases[] = {
		{"defaults", EXTRA(""),
		 .contains = "<clock offset='utc'/>\n<on_poweroff>destroy</on_poweroff>\n"
			     "<on_reboot>restart</on_reboot>\n<on_crash>destroy</on_crash>"},
		{"events",
		 EXTRA("<on_poweroff>preserve</on_poweroff><on_reboot>rename-restart</on_reboot>"
		       "<on_crash>coredump-restart</on_crash>"),
		 .warnings =
			 "5:36: <on_reboot> 'rename-restart' is kept, but restarts under the same "
			 "name\n5:73: <on_crash> 'coredump-restart' is kept, but no core is dumped",
		 .contains = "<on_poweroff>preserve</on_poweroff>\n"
			     "<on_reboot>rename-restart</on_reboot>\n"
			     "<on_crash>coredump-restart</on_crash>"},
		{"coredump at poweroff", EXTRA("<on_poweroff>coredump-destroy</on_poweroff>"),
		 "5:1: <on_poweroff> 'coredump-destroy' is not supported (use 'destroy', "
		 "'restart', "
		 "'rename-restart' or 'preserve')",
		 PVV_EUNSUPPORTED},
		{"unknown action", EXTRA("<on_crash>explode</on_crash>"),
		 "5:1: <on_crash> 'explode' is not supported (use 'destroy', 'restart', "
		 "'rename-restart', 'preserve', 'coredump-destroy' or 'coredump-restart')",
		 PVV_EUNSUPPORTED},
		{"two actions", EXTRA("<on_crash>destroy</on_crash><on_crash>restart</on_crash>"),
		 "5:29: <on_crash> appears twice in <domain> (first on line 5)"},
		{"on_lockfailure", EXTRA("<on_lockfailure>poweroff</on_lockfailure>"),
		 .warnings = "5:1: <on_lockfailure> is ignored"},
		{"utc with reset", EXTRA("<clock offset='utc' adjustment='reset'/>"),
		 .contains = "<clock offset='utc' adjustment='reset'/>"},
		{"localtime", EXTRA("<clock offset='localtime'/>"),
		 .contains = "<clock offset='localtime'/>"},
		{"utc with an adjustment", EXTRA("<clock offset='utc' adjustment='+3600'/>"),
		 .contains = "<clock offset='utc' adjustment='3600'/>"},
		{"variable",
		 EXTRA("<clock offset='variable' adjustment='-3600' basis='localtime'/>"),
		 .contains = "<clock offset='variable' adjustment='-3600' basis='localtime'/>"},
		{"variable by default", EXTRA("<clock offset='variable'/>"),
		 .contains = "<clock offset='variable' basis='utc'/>"},
		{"absolute", EXTRA("<clock offset='absolute' start='1000000000'/>"),
		 .contains = "<clock offset='absolute' start='1000000000'/>"},
		{"absolute without start", EXTRA("<clock offset='absolute'/>"),
		 "5:1: <clock> lacks the attribute 'start'"},
		{"absolute and late", EXTRA("<clock offset='absolute' start='99999999999'/>"),
		 "5:1: <clock> start 99999999999 is later than 4000000000 s", PVV_ELIMIT},
		{"timezone", EXTRA("<clock offset='timezone' timezone='Europe/Berlin'/>"),
		 "5:8: <clock> offset 'timezone' is not supported (use 'utc', 'localtime', "
		 "'variable' or 'absolute')",
		 PVV_EUNSUPPORTED},
		{"no offset", EXTRA("<clock/>"), "5:1: <clock> lacks the attribute 'offset'"},
		{"variable reset", EXTRA("<clock offset='variable' adjustment='reset'/>"),
		 "5:26: <clock> adjustment 'reset' is not a decimal number"},
		{"huge adjustment",
		 EXTRA("<clock offset='variable' adjustment='-9223372036854775807'/>"),
		 "5:1: <clock> adjustment of -9223372036854775807 s is more than 4000000000 s",
		 PVV_ELIMIT},
		{"timer", EXTRA("<clock offset='utc'><timer name='tsc' mode='native'/></clock>"),
		 .warnings = "5:21: <timer> is ignored (the guest uses Xen's clock)"},
		{"xen features",
		 EXTRA("<features><xen><e820_host state='on'/>"
		       "<passthrough state='on' mode='share_pt'/></xen></features>"),
		 .contains = "<features>\n<xen>\n<e820_host state='on'/>\n"
			     "<passthrough state='on' mode='share_pt'/>\n</xen>\n</features>"},
		{"no xen features", EXTRA("<features><xen/></features>"),
		 .contains = "<features>\n<xen/>\n</features>"},
		{"other features", EXTRA("<features><acpi/><pae/><hap/></features>"),
		 .warnings = "5:11: <acpi> is ignored\n5:18: <pae> is ignored\n"
			     "5:24: <hap> is ignored"},
		{"feature state",
		 EXTRA("<features><xen><e820_host state='maybe'/></xen></features>"),
		 "5:27: <e820_host> state 'maybe' is not supported (use 'on' or 'off')",
		 PVV_EUNSUPPORTED},
		{"feature without state", EXTRA("<features><xen><passthrough/></xen></features>"),
		 "5:16: <passthrough> lacks the attribute 'state'"},
	};

	RUN_CASES(cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_general),
		cmocka_unit_test(test_os),
		cmocka_unit_test(test_long_cmdline),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_cpu),
		cmocka_unit_test(test_events_clock_features),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	schema_close();
	return r;
}
