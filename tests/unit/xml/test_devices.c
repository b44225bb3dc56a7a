/* SPDX-License-Identifier: MIT */
/* Devices, metadata and our own namespace: accepted, refused with exact words, warned about. */
#include "harness.h"

#include <string.h>

#define DISK(in)	    DEVICES("<disk type='file' device='disk'>" in "</disk>")
#define XVDA		    "<target dev='xvda' bus='xen'/>"
#define SOURCE		    "<source file='/img'/>"
#define INTERFACE(type, in) DEVICES("<interface type='" type "'>" in "</interface>")
#define CONSOLE(attrs, in)  DEVICES("<console" attrs ">" in "</console>")
#define NO_SCRIPT                                                                                  \
	"<script> is kept, but without effect (no programs are run; a tap device is made, "        \
	"brought "                                                                                 \
	"up and attached to its bridge)"
#define OURS(in) "<pvvirt:domain xmlns:pvvirt='" NS "'>" in "</pvvirt:domain>"

static void test_disk(void **state)
{
	static const struct xml_case cases[] = {
		{"file", DISK("<driver name='qemu' type='raw'/>" SOURCE XVDA),
		 .contains = "<disk type='file' device='disk'>\n<driver name='qemu' type='raw'/>\n"
			     "<source file='/img'/>\n<target dev='xvda' bus='xen'/>\n</disk>"},
		{"least", DEVICES("<disk><target dev='xvda'/><source file='/img'/></disk>"),
		 .contains = "<disk type='file' device='disk'>\n<source file='/img'/>\n"
			     "<target dev='xvda' bus='xen'/>\n</disk>"},
		{"block", DEVICES("<disk type='block'><source dev='/dev/vg/x'/>" XVDA "</disk>"),
		 .contains = "<disk type='block' device='disk'>\n<source dev='/dev/vg/x'/>"},
		{"cdrom is read-only", DEVICES("<disk device='cdrom'>" SOURCE XVDA "</disk>"),
		 .contains = "<disk type='file' device='cdrom'>\n<source file='/img'/>\n"
			     "<target dev='xvda' bus='xen'/>\n<readonly/>\n</disk>"},
		{"empty cdrom", DEVICES("<disk device='cdrom'>" XVDA "</disk>"),
		 .contains = "<disk type='file' device='cdrom'>\n"
			     "<target dev='xvda' bus='xen'/>\n<readonly/>\n</disk>"},
		{"everything",
		 DISK("<serial>AB-1_2.3+ 4</serial><shareable/><readonly/>"
		      "<driver name='phy' type='raw' cache='none' io='native' "
		      "discard='unmap'/>" SOURCE "<target dev='xvdaa1' bus='xen'/>"),
		 .warnings =
			 "7:33: <serial> is kept, but without effect (a PV disk does not show one)",
		 .contains = "<driver name='phy' type='raw' cache='none' io='native' "
			     "discard='unmap'/>\n<source file='/img'/>\n"
			     "<target dev='xvdaa1' bus='xen'/>\n<readonly/>\n<shareable/>\n"
			     "<serial>AB-1_2.3+ 4</serial>"},
		{"default cache is not written", DISK("<driver cache='default'/>" SOURCE XVDA),
		 .contains = "<disk type='file' device='disk'>\n<source file='/img'/>"},
		{"aio is raw", DISK("<driver type='aio'/>" SOURCE XVDA),
		 .contains = "<driver type='raw'/>"},
		{"sda on Xen's bus", DISK(SOURCE "<target dev='sda' bus='xen'/>"),
		 .contains = "<target dev='sda' bus='xen'/>"},
		{"qcow2", DISK("<driver name='qemu' type='qcow2'/>" SOURCE XVDA),
		 .warnings = "7:53: <driver> type 'qcow2' is kept but not supported: the domain "
			     "will not start",
		 .contains = "<driver name='qemu' type='qcow2'/>"},
		{"escapes in a path",
		 DISK("<source file='/a&amp;b&lt;c&quot;&apos;&#x20AC;'/>" XVDA),
		 .contains = "<source file='/a&amp;b&lt;c\"&apos;\xe2\x82\xac'/>"},
		{"scsi", DISK("\n" SOURCE "\n<target dev='sda' bus='scsi'/>"),
		 "9:19: <disk> target 'sda': bus 'scsi' is not supported (use bus='xen')",
		 PVV_EUNSUPPORTED},
		{"scsi by its name", DISK(SOURCE "\n<target dev='sda'/>"),
		 "8:1: <disk> target 'sda': bus 'scsi' is not supported (use bus='xen')",
		 PVV_EUNSUPPORTED},
		{"ide by its name", DISK(SOURCE "<target dev='hda'/>"),
		 "7:54: <disk> target 'hda': bus 'ide' is not supported (use bus='xen')",
		 PVV_EUNSUPPORTED},
		{"virtio", DISK(SOURCE "<target dev='vda' bus='virtio'/>"),
		 "7:72: <disk> target 'vda': bus 'virtio' is not supported (use bus='xen')",
		 PVV_EUNSUPPORTED},
		{"vda on Xen's bus", DISK(SOURCE "<target dev='vda' bus='xen'/>"),
		 "7:1: <disk> target 'vda' is not the name of a Xen block device such as 'xvda'"},
		{"number in the target", DISK(SOURCE "<target dev='xvda256' bus='xen'/>"),
		 "7:1: <disk> target 'xvda256' is not the name of a Xen block device such as "
		 "'xvda'"},
		{"network", DEVICES("<disk type='network'>" XVDA "</disk>"),
		 "7:7: <disk> type 'network' is not supported (use 'file' or 'block')",
		 PVV_EUNSUPPORTED},
		{"floppy", DEVICES("<disk device='floppy'>" XVDA "</disk>"),
		 "7:7: <disk> device 'floppy' is not supported (use 'disk' or 'cdrom')",
		 PVV_EUNSUPPORTED},
		{"lun", DEVICES("<disk type='block' device='lun'>" XVDA "</disk>"),
		 "7:20: <disk> device 'lun' is not supported (use 'disk' or 'cdrom')",
		 PVV_EUNSUPPORTED},
		{"no target", DISK(SOURCE), "7:1: <disk> lacks <target>"},
		{"no dev", DISK(SOURCE "<target bus='xen'/>"),
		 "7:54: <target> lacks the attribute 'dev'"},
		{"no source", DISK(XVDA), "7:1: <disk> target 'xvda' has no source"},
		{"empty source", DISK("<source file=''/>" XVDA),
		 "7:41: <source> attribute 'file' is empty"},
		{"relative source", DISK("<source file='img'/>" XVDA),
		 "7:1: <disk> source 'img' is not an absolute path"},
		{"source of the other type", DISK("<source dev='/dev/x'/>" XVDA),
		 "7:41: <disk> target 'xvda': type 'file' has its source in the attribute 'file', "
		 "not 'dev'"},
		{"two sources", DISK(SOURCE SOURCE XVDA),
		 "7:54: <source> appears twice in <disk> (first on line 7)"},
		{"two of a target",
		 DEVICES("<disk>" SOURCE XVDA "</disk>\n<disk><source file='/b'/>" XVDA "</disk>"),
		 "8:1: <disk> target 'xvda' is used twice"},
		{"same number by two names",
		 DEVICES("<disk>" SOURCE XVDA "</disk>\n<disk><source file='/b'/>"
			 "<target dev='xvda0'/></disk>"),
		 "8:1: <disk> target 'xvda0' is not the name of a Xen block device such as 'xvda'"},
		{"two writers of a file",
		 DEVICES("<disk>" SOURCE XVDA "</disk>\n<disk>" SOURCE
			 "<target dev='xvdb'/></disk>"),
		 "8:1: <disk> target 'xvdb': '/img' is also the source of 'xvda' (make both "
		 "<readonly/> or <shareable/>)"},
		{"two readers of a file",
		 DEVICES("<disk>" SOURCE XVDA "<readonly/></disk><disk>" SOURCE
			 "<target dev='xvdb'/><readonly/></disk>")},
		{"shared writers", DEVICES("<disk>" SOURCE XVDA "<shareable/></disk><disk>" SOURCE
					   "<target dev='xvdb'/><shareable/></disk>")},
		{"serial", DISK(SOURCE XVDA "<serial>a/b</serial>"),
		 "7:1: <disk> serial 'a/b' contains a character that is not allowed there"},
		{"format", DISK("<driver type='zip'/>" SOURCE XVDA),
		 "7:1: <disk> target 'xvda': format 'zip' is unknown"},
		{"cache", DISK("<driver cache='lots'/>" SOURCE XVDA),
		 "7:41: <driver> cache 'lots' is not supported (use 'default', 'none', "
		 "'writeback', 'writethrough', 'directsync' or 'unsafe')",
		 PVV_EUNSUPPORTED},
		{"transient", DISK(SOURCE XVDA "<transient/>"),
		 "7:84: <transient> is not supported in <disk> (changes would be kept)",
		 PVV_EUNSUPPORTED},
		{"encryption", DISK(SOURCE XVDA "<encryption format='luks'/>"),
		 "7:84: <encryption> is not supported in <disk> (data would be written in clear)",
		 PVV_EUNSUPPORTED},
		{"encrypted source",
		 DISK("<source file='/i'><encryption format='luks'/></source>" XVDA),
		 "7:51: <encryption> is not supported in <disk> (data would be written in clear)",
		 PVV_EUNSUPPORTED},
		{"slice of a file",
		 DISK("<source file='/i'><slices><slice type='storage' offset='512' size='512'/>"
		      "</slices></source>" XVDA),
		 "7:51: <slices> is not supported in <disk> (the whole file would be shown)",
		 PVV_EUNSUPPORTED},
		{"driver domain", DISK(SOURCE XVDA "<backenddomain name='nas'/>"),
		 "7:84: <backenddomain> is not supported in <disk> (there are no driver domains)",
		 PVV_EUNSUPPORTED},
		{"running domain's",
		 DISK("<backingStore/><alias name='x'/>" SOURCE XVDA "<boot order='1'/>"),
		 .warnings =
			 "7:33: <backingStore> is ignored (images are raw and have no backing "
			 "file)\n"
			 "7:48: <alias> is ignored (it is chosen by libvirt for a running "
			 "domain)\n"
			 "7:116: <boot> is ignored (the kernel or PV GRUB decides what is booted)"},
		{"ignored attributes",
		 DEVICES("<disk snapshot='external'><source file='/i' startupPolicy='optional'/>"
			 "<target dev='xvda' tray='open'/></disk>"),
		 .warnings = "7:7: <disk> attribute 'snapshot' is ignored\n"
			     "7:45: <source> attribute 'startupPolicy' is ignored\n"
			     "7:90: <target> attribute 'tray' is ignored"},
	};

	RUN_CASES(cases);
}

static void test_interface(void **state)
{
	static const struct xml_case cases[] = {
		{"bridge",
		 INTERFACE("bridge", "<source bridge='br0'/><mac address='00:16:3E:3e:86:60'/>"
				     "<script path='vif-bridge'/><target dev='vif1.0'/>"
				     "<model type='netfront'/>"),
		 .warnings = "7:82: " NO_SCRIPT,
		 .contains = "<interface type='bridge'>\n<mac address='00:16:3e:3e:86:60'/>\n"
			     "<source bridge='br0'/>\n<script path='vif-bridge'/>\n"
			     "<target dev='vif1.0'/>\n<model type='netfront'/>\n</interface>"},
		{"ethernet with addresses",
		 INTERFACE("ethernet",
			   "<ip address='10.0.0.1' family='ipv4' prefix='8' peer='10.0.0.2'/>"
			   "<ip address='2000:ABCD::0:1' prefix='64'/>"),
		 .warnings = "7:28: <ip> is kept, but without effect (only user networking can "
			     "tell the "
			     "guest its addresses)",
		 .contains =
			 "<interface type='ethernet'>\n"
			 "<ip address='10.0.0.1' family='ipv4' prefix='8' peer='10.0.0.2'/>\n"
			 "<ip address='2000:abcd::1' family='ipv6' prefix='64'/>\n</interface>"},
		{"user with port forwards",
		 INTERFACE("user",
			   "<source dev='eth0'/><backend type='passt' logFile='/tmp/p.log'/>"
			   "<portForward proto='tcp' address='127.0.0.1' dev='lo'>"
			   "<range start='2022' to='22'/><range start='8000' end='8080'/>"
			   "<range start='8001' exclude='yes'/></portForward>"
			   "<portForward proto='udp'/>"),
		 .contains = "<interface type='user'>\n<source dev='eth0'/>\n"
			     "<portForward proto='tcp' address='127.0.0.1' dev='lo'>\n"
			     "<range start='2022' to='22'/>\n<range start='8000' end='8080'/>\n"
			     "<range start='8001' exclude='yes'/>\n</portForward>\n"
			     "<portForward proto='udp'/>\n"
			     "<backend type='passt' logFile='/tmp/p.log'/>\n</interface>"},
		{"an existing tap device",
		 INTERFACE("ethernet", "<target dev='tap7' managed='no'/>"),
		 .contains = "<target dev='tap7' managed='no'/>"},
		{"a tap device to be made",
		 INTERFACE("ethernet", "<target dev='tap7' managed='yes'/>"),
		 .contains = "<target dev='tap7' managed='yes'/>"},
		{"managed by whom", INTERFACE("ethernet", "<target dev='tap7' managed='me'/>"),
		 "7:47: <target> managed 'me' is not supported (use 'yes' or 'no')",
		 PVV_EUNSUPPORTED},
		{"link and mtu", INTERFACE("user", "<link state='down'/><mtu size='1400'/>"),
		 .contains = "<link state='down'/>\n<mtu size='1400'/>"},
		{"no type", DEVICES("<interface/>"), "7:1: <interface> lacks the attribute 'type'"},
		{"network", INTERFACE("network", "<source network='default'/>"),
		 "7:12: <interface> type 'network' is not supported (use 'bridge', 'ethernet' or "
		 "'user')",
		 PVV_EUNSUPPORTED},
		{"hostdev", INTERFACE("hostdev", ""),
		 "7:12: <interface> type 'hostdev' is not supported (use 'bridge', 'ethernet' or "
		 "'user')",
		 PVV_EUNSUPPORTED},
		{"bridge without bridge", INTERFACE("bridge", ""),
		 "7:1: <interface> type 'bridge' needs <source bridge=>"},
		{"bad bridge", INTERFACE("bridge", "<source bridge='a b'/>"),
		 "7:1: <interface> source 'a b' is not a device name (letters, digits, _ . - : /)"},
		{"bad mac", INTERFACE("ethernet", "<mac address='00:16:3e:3e:86'/>"),
		 "7:33: <interface> mac '00:16:3e:3e:86' is not a MAC address"},
		{"multicast", INTERFACE("ethernet", "<mac address='01:16:3e:3e:86:60'/>"),
		 "7:1: <interface> mac: a multicast address"},
		{"zero mac", INTERFACE("ethernet", "<mac address='00:00:00:00:00:00'/>"),
		 "7:1: <interface> mac: all zero"},
		{"two of a mac",
		 DEVICES("<interface type='ethernet'><mac address='00:16:3e:00:00:01'/></interface>"
			 "\n<interface type='user'><mac address='00:16:3E:00:00:01'/></interface>"),
		 "8:1: <interface> mac '00:16:3e:00:00:01' is used twice"},
		{"two of a target",
		 DEVICES("<interface type='user'><target dev='t'/></interface>\n"
			 "<interface type='user'><target dev='t'/></interface>"),
		 "8:1: <interface> target 't' is used twice"},
		{"address", INTERFACE("ethernet", "<ip address='10.0.0'/>"),
		 "7:32: <ip> address '10.0.0' is not an IP address"},
		{"no address", INTERFACE("ethernet", "<ip/>"),
		 "7:28: <ip> lacks the attribute 'address'"},
		{"other family", INTERFACE("ethernet", "<ip address='10.0.0.1' family='ipv6'/>"),
		 "7:51: <ip> family 'ipv6' does not fit the address '10.0.0.1'"},
		{"prefix", INTERFACE("ethernet", "<ip address='10.0.0.1' prefix='33'/>"),
		 "7:51: <ip> attribute 'prefix' '33' is more than 32"},
		{"peer", INTERFACE("ethernet", "<ip address='10.0.0.1' peer='::1'/>"),
		 "7:51: <ip> peer '::1' is of another family than the address"},
		{"port zero",
		 INTERFACE("user", "<portForward proto='tcp'><range start='0'/>"
				   "</portForward>"),
		 "7:56: <range> start is 0"},
		{"port too large",
		 INTERFACE("user", "<portForward proto='tcp'>"
				   "<range start='65536'/></portForward>"),
		 "7:56: <range> attribute 'start' '65536' is more than 65535"},
		{"range backwards",
		 INTERFACE("user", "<portForward proto='tcp'>"
				   "<range start='2' end='1'/></portForward>"),
		 "7:1: <interface> portForward: range 2-1 is not a range of ports"},
		{"range beyond",
		 INTERFACE("user", "<portForward proto='tcp'><range start='1' "
				   "end='3' to='65534'/></portForward>"),
		 "7:1: <interface> portForward: range 1-3 to 65534 ends above 65535"},
		{"proto", INTERFACE("user", "<portForward proto='sctp'/>"),
		 "7:37: <portForward> proto 'sctp' is not supported (use 'tcp' or 'udp')",
		 PVV_EUNSUPPORTED},
		{"forwards of a bridge",
		 INTERFACE("bridge", "<source bridge='b'/><portForward proto='tcp'/>"),
		 "7:1: <interface> portForward and backend belong to type 'user'"},
		{"mtu", INTERFACE("user", "<mtu size='67'/>"),
		 "7:1: <interface> mtu 67 is not within 68..65535"},
		{"driver domain", INTERFACE("user", "<backenddomain name='n'/>"),
		 "7:24: <backenddomain> is not supported (there are no driver domains)",
		 PVV_EUNSUPPORTED},
		{"model", INTERFACE("user", "<model type='e1000'/>"),
		 .warnings = "7:31: <model> type 'e1000' is ignored (a PV domain has netfront)"},
		{"ignored",
		 INTERFACE("ethernet", "<filterref filter='clean'/><bandwidth/><vlan/>"
				       "<source><ip address='10.0.0.1'/></source>"),
		 .warnings = "7:28: <filterref> is ignored (traffic is not filtered)\n"
			     "7:55: <bandwidth> is ignored (traffic is not shaped)\n"
			     "7:67: <vlan> is ignored (it is left to the script)\n"
			     "7:82: <ip> is ignored"},
	};

	RUN_CASES(cases);
}

static void test_console(void **state)
{
	static const struct xml_case cases[] = {
		{"pty", CONSOLE(" type='pty'", "<target type='xen' port='0'/>"),
		 .contains = "<console type='pty'>\n<target type='xen' port='0'/>\n</console>"},
		{"least", CONSOLE("", ""),
		 .contains = "<console type='pty'>\n<target type='xen' port='0'/>\n</console>"},
		{"file with a log",
		 CONSOLE(" type='file'", "<source path='/c' append='on'/>"
					 "<log file='/l' append='off'/>"),
		 .contains = "<console type='file'>\n<source path='/c' append='on'/>\n"
			     "<log file='/l' append='off'/>\n<target type='xen' port='0'/>"},
		{"listening socket", CONSOLE(" type='unix'", "<source mode='bind' path='/s'/>"),
		 .contains = "<source mode='bind' path='/s'/>"},
		{"connecting socket", CONSOLE(" type='unix'", "<source path='/s'/>"),
		 .contains = "<source mode='connect' path='/s'/>"},
		{"tcp",
		 CONSOLE(" type='tcp'", "<source mode='bind' host='::1' service='4555' tls='no'/>"
					"<protocol type='telnet'/>"),
		 .warnings = "7:77: <protocol> is kept, but without effect (bytes are passed on as "
			     "they are)",
		 .contains = "<source mode='bind' host='::1' service='4555'/>\n"
			     "<protocol type='telnet'/>"},
		{"null", CONSOLE(" type='null'", ""), .contains = "<console type='null'>"},
		{"several, the lowest free port",
		 DEVICES("<console><target port='1'/></console><console type='null'/>"
			 "<console type='file'><source path='/c'/></console>"),
		 .contains = "<console type='null'>\n<target type='xen' port='0'/>\n</console>\n"
			     "<console type='pty'>\n<target type='xen' port='1'/>\n</console>\n"
			     "<console type='file'>\n<source path='/c'/>\n"
			     "<target type='xen' port='2'/>\n</console>"},
		{"running domain's",
		 CONSOLE(" type='pty' tty='/dev/pts/5'", "<source path='/dev/pts/5'/>"),
		 .warnings = "7:21: <console> attribute 'tty' is ignored\n"
			     "7:46: <source> attribute 'path' is ignored"},
		{"port twice", DEVICES("<console/>\n<console><target port='0'/></console>"),
		 "8:1: <console> port '0' is used twice"},
		{"port too large", CONSOLE("", "<target port='16'/>"),
		 "7:1: <console> port '16' is not below 16", PVV_ELIMIT},
		{"port overflow", CONSOLE("", "<target port='4294967296'/>"),
		 "7:18: <target> attribute 'port' '4294967296' is more than 4294967295"},
		{"stdio", CONSOLE(" type='stdio'", ""),
		 "7:10: <console> type 'stdio' is not supported: the program's own streams are not "
		 "the library's (pass a descriptor)",
		 PVV_EUNSUPPORTED},
		{"spice", CONSOLE(" type='spicevmc'", ""),
		 "7:10: <console> type 'spicevmc' is not supported (use 'null', 'pty', 'file', "
		 "'unix' or 'tcp')",
		 PVV_EUNSUPPORTED},
		{"serial target", CONSOLE(" type='pty'", "<target type='serial'/>"),
		 "7:29: <console> target type 'serial' is not supported (use type='xen')",
		 PVV_EUNSUPPORTED},
		{"file without path", CONSOLE(" type='file'", ""),
		 "7:1: <console> type 'file' needs <source path=>"},
		{"long socket name",
		 CONSOLE(" type='unix'", "<source path='/0123456789012345678901234567890123456789"
					 "01234567890123456789012345678901234567890123456789"
					 "01234567890123456789'/>"),
		 "7:1: <console> path is longer than the 107 bytes of a socket's name"},
		{"tcp without host", CONSOLE(" type='tcp'", "<source service='1'/>"),
		 "7:1: <console> type 'tcp' needs a host and a service"},
		{"tcp port", CONSOLE(" type='tcp'", "<source host='h' service='65536'/>"),
		 "7:1: <console> service '65536' is not a port number"},
		{"tcp service name", CONSOLE(" type='tcp'", "<source host='h' service='telnet'/>"),
		 "7:1: <console> service 'telnet' is not a port number"},
		{"tls", CONSOLE(" type='tcp'", "<source host='h' service='1' tls='yes'/>"),
		 "7:50: <source> tls 'yes' is not supported", PVV_EUNSUPPORTED},
		{"log without file", CONSOLE("", "<log/>"),
		 "7:10: <log> lacks the attribute 'file'"},
		{"relative log", CONSOLE("", "<log file='l'/>"),
		 "7:1: <console> log file 'l' is not an absolute path"},
		{"serial", DEVICES("<serial type='pty'><target port='0'/></serial>"),
		 .warnings = "7:1: <serial> is ignored (a PV domain has no serial ports, use "
			     "<console>)"},
	};

	RUN_CASES(cases);
}

static void test_channel_controller_others(void **state)
{
	static const struct xml_case cases[] = {
		{"channel",
		 DEVICES("<channel type='unix'><source mode='bind' path='/s'/>"
			 "<target type='xen' name='org.qemu.guest_agent.0'/></channel>"),
		 .contains = "<channel type='unix'>\n<source mode='bind' path='/s'/>\n"
			     "<target type='xen' name='org.qemu.guest_agent.0'/>\n</channel>"},
		{"channel without name",
		 DEVICES("<channel type='pty'><target type='xen'/></channel>"),
		 "7:1: <channel> has no name"},
		{"channel without target", DEVICES("<channel type='pty'/>"),
		 "7:1: <channel> lacks <target>"},
		{"virtio channel",
		 DEVICES("<channel type='pty'><target type='virtio' name='a'/></channel>"),
		 "7:29: <channel> target type 'virtio' is not supported (use type='xen')",
		 PVV_EUNSUPPORTED},
		{"two of a name",
		 DEVICES("<channel><target name='a'/></channel>\n"
			 "<channel><target name='a'/></channel>"),
		 "8:1: <channel> name 'a' is used twice"},
		{"xenbus",
		 DEVICES("<controller type='xenbus' index='0' maxGrantFrames='64' "
			 "maxEventChannels='2047'/>"),
		 .contains = "<controller type='xenbus' index='0' maxGrantFrames='64' "
			     "maxEventChannels='2047'/>"},
		{"xenbus is always there", DEVICES(""),
		 .contains = "<controller type='xenbus' index='0'/>"},
		{"more than there is",
		 DEVICES("<controller type='xenbus' maxGrantFrames='512' "
			 "maxEventChannels='131072'/>"),
		 .warnings = "7:27: <controller> maxGrantFrames='512' is reduced to 256\n"
			     "7:48: <controller> maxEventChannels='131072' is reduced to 4096",
		 .contains = "<controller type='xenbus' index='0' maxGrantFrames='256' "
			     "maxEventChannels='4096'/>"},
		{"no grants", DEVICES("<controller type='xenbus' maxGrantFrames='0'/>"),
		 "7:27: <controller> maxGrantFrames is 0"},
		{"second index", DEVICES("<controller type='xenbus' index='1'/>"),
		 "7:27: <controller> index '1': there is one xenbus, number 0"},
		{"two", DEVICES("<controller type='xenbus'/>\n<controller type='xenbus'/>"),
		 "8:1: <controller> type 'xenbus' appears twice (first on line 7)"},
		{"no type", DEVICES("<controller/>"),
		 "7:1: <controller> lacks the attribute 'type'"},
		{"usb", DEVICES("<controller type='usb' index='0' model='qusb2'/>"),
		 .warnings =
			 "7:1: <controller> is ignored (only type 'xenbus' means something to a "
			 "PV domain)"},
		{"no balloon", DEVICES("<memballoon model='none'/>"),
		 .contains = "<memballoon model='none'/>"},
		{"balloon is the default", DEVICES(""), .contains = "<memballoon model='xen'/>"},
		{"virtio balloon", DEVICES("<memballoon model='virtio'/>"),
		 "7:13: <memballoon> model 'virtio' is not supported (use 'xen' or 'none')",
		 PVV_EUNSUPPORTED},
		{"two balloons", DEVICES("<memballoon model='xen'/><memballoon model='xen'/>"),
		 "7:26: <memballoon> appears twice in <devices> (first on line 7)"},
		{"what a PV domain does not have",
		 DEVICES("<emulator>/q</emulator><hostdev/><filesystem/><tpm/>\n<graphics/><video/>"
			 "<sound/>\n<input/><rng/><watchdog/>"),
		 .warnings =
			 "7:1: <emulator> is ignored (there is no device model)\n"
			 "7:24: <hostdev> is ignored (host devices cannot be passed through)\n"
			 "7:34: <filesystem> is ignored (host folders cannot be shared with a PV "
			 "domain)\n"
			 "7:47: <tpm> is ignored (a PV domain has no TPM)\n"
			 "8:1: <graphics> is ignored (a PV domain has no screen, use the console)\n"
			 "8:12: <video> is ignored (a PV domain has no screen, use the console)\n"
			 "8:20: <sound> is ignored (a PV domain has no sound)\n"
			 "9:1: <input> is ignored (a PV domain has no screen, use the console)\n"
			 "9:9: <rng> is ignored (there is no PV random number device)\n"
			 "9:15: <watchdog> is ignored (there is no watchdog device)"},
		{"two devices", EXTRA("<devices/>"),
		 "6:1: <devices> appears twice in <domain> (first on line 5)"},
	};

	RUN_CASES(cases);
}

static void test_opaque(void **state)
{
	static const struct xml_case cases[] = {
		{"metadata is kept as it is",
		 EXTRA("<metadata>\n  <a:x xmlns:a='urn:a' a:k=\"v'&#10;\">t&amp;<b> <!-- c --> "
		       "</b>\n</a:x><?pi?> <!-- dropped -->\n<y/></metadata>"),
		 .contains = "<metadata>\n<a:x xmlns:a='urn:a' a:k='v&apos;&#10;'>t&amp;<b> "
			     "<!-- c --> </b>\n</a:x>\n<y/>\n</metadata>"},
		{"declarations from above come along",
		 "<domain type='xen' xmlns:u='urn:unused' xmlns:a='urn:a'><name>d</name>"
		 "<memory>1024</memory><bootloader/><metadata xmlns:b='urn:b'><a:x><b:y a:k='v'/>"
		 "</a:x></metadata></domain>",
		 .contains = "<a:x xmlns:a='urn:a' xmlns:b='urn:b'><b:y a:k='v'/></a:x>"},
		{"default namespace inside",
		 EXTRA("<metadata><x xmlns='urn:x'><y xmlns=''/></x>"
		       "</metadata>"),
		 .contains = "<x xmlns='urn:x'><y xmlns=''/></x>"},
		{"empty metadata", EXTRA("<metadata/>"),
		 .contains = "<name>d</name>\n"
			     "<memory unit='KiB'>65536</memory>"},
		{"text in metadata", EXTRA("<metadata>x<y/></metadata>"),
		 .warnings = "5:1: <metadata> text in it is ignored",
		 .contains = "<metadata>\n<y/>\n</metadata>"},
		{"two metadata", EXTRA("<metadata/><metadata/>"),
		 "5:12: <metadata> appears twice in <domain> (first on line 5)"},
		{"seclabel",
		 EXTRA("<seclabel type='static' model='selinux' relabel='yes'><label>u:r:t</label>"
		       "</seclabel><seclabel type='none'/>"),
		 .contains = "<seclabel type='static' model='selinux' relabel='yes'>"
			     "<label>u:r:t</label></seclabel>\n<seclabel type='none'/>"},
	};

	RUN_CASES(cases);
}

static void test_pvvirt(void **state)
{
	static const struct xml_case cases[] = {
		{"executor, written in metadata", EXTRA(OURS("<pvvirt:executor name='ring3'/>")),
		 .contains = "<metadata>\n<pvvirt:domain xmlns:pvvirt='" NS "'>\n"
			     "<pvvirt:executor name='ring3'/>\n</pvvirt:domain>\n</metadata>"},
		{"any prefix",
		 EXTRA("<metadata><p:domain xmlns:p='" NS "'><p:executor name='kvm'/></p:domain>"
		       "</metadata>"),
		 .contains = "<pvvirt:executor name='kvm'/>"},
		{"auto is not written", EXTRA(OURS("<pvvirt:executor name='auto'/>")),
		 .contains = "<name>d</name>\n<memory unit='KiB'>65536</memory>"},
		{"no brief turns", EXTRA(OURS("<pvvirt:executor name='ring3' briefTurns='no'/>")),
		 .contains = "<pvvirt:executor name='ring3' briefTurns='no'/>"},
		{"no brief turns, by any executor",
		 EXTRA(OURS("<pvvirt:executor name='auto' briefTurns='no'/>")),
		 .contains = "<pvvirt:executor name='auto' briefTurns='no'/>"},
		{"brief turns are not written",
		 EXTRA(OURS("<pvvirt:executor name='ring3' briefTurns='yes'/>")),
		 .contains = "<pvvirt:executor name='ring3'/>"},
		{"limits",
		 EXTRA(OURS("<pvvirt:limits><pvvirt:codeCache unit='MiB'>64</pvvirt:codeCache>"
			    "<pvvirt:overhead unit='GiB'>1</pvvirt:overhead>"
			    "<pvvirt:xenstoreNodes>1000</pvvirt:xenstoreNodes>"
			    "<pvvirt:xenstoreWatches>128</pvvirt:xenstoreWatches>"
			    "<pvvirt:xenstoreTransactions>10</pvvirt:xenstoreTransactions>"
			    "</pvvirt:limits>")),
		 .contains = "<pvvirt:limits>\n<pvvirt:codeCache unit='KiB'>65536"
			     "</pvvirt:codeCache>\n"
			     "<pvvirt:overhead unit='KiB'>1048576</pvvirt:overhead>\n"
			     "<pvvirt:xenstoreNodes>1000</pvvirt:xenstoreNodes>\n"
			     "<pvvirt:xenstoreWatches>128</pvvirt:xenstoreWatches>\n"
			     "<pvvirt:xenstoreTransactions>10</pvvirt:xenstoreTransactions>\n"
			     "</pvvirt:limits>"},
		{"descriptors",
		 "<domain type='xen' xmlns:v='" NS "'><name>d</name><memory>1024</memory>"
		 "<os><type>linux</type></os><devices><disk><target dev='xvda'/></disk>"
		 "<interface type='ethernet'/><console type='null'/>"
		 "<channel type='null'><target name='a'/></channel></devices>"
		 "<v:domain><v:descriptors><v:kernel/><v:initrd/><v:disk target='xvda'/>"
		 "<v:interface index='0'/><v:console port='0'/><v:channel name='a'/>"
		 "</v:descriptors></v:domain></domain>",
		 .contains = "<pvvirt:descriptors>\n<pvvirt:kernel/>\n<pvvirt:initrd/>\n"
			     "<pvvirt:disk target='xvda'/>\n<pvvirt:interface index='0'/>\n"
			     "<pvvirt:console port='0'/>\n<pvvirt:channel name='a'/>\n"
			     "</pvvirt:descriptors>"},
		{"executor unknown", EXTRA(OURS("<pvvirt:executor name='hvf'/>")),
		 "5:89: <pvvirt:executor> name 'hvf' is not supported (use 'auto', 'ring3' or "
		 "'kvm')",
		 PVV_EUNSUPPORTED},
		{"executor without name", EXTRA(OURS("<pvvirt:executor/>")),
		 "5:72: <pvvirt:executor> lacks the attribute 'name'"},
		{"brief turns of any", EXTRA(OURS("<pvvirt:executor briefTurns='no'/>")),
		 "5:72: <pvvirt:executor> lacks the attribute 'name'"},
		{"brief turns unknown",
		 EXTRA(OURS("<pvvirt:executor name='auto' briefTurns='off'/>")),
		 "5:101: <pvvirt:executor> briefTurns 'off' is not supported (use 'no' or 'yes')",
		 PVV_EUNSUPPORTED},
		{"no limit",
		 EXTRA(OURS("<pvvirt:limits><pvvirt:xenstoreNodes>0"
			    "</pvvirt:xenstoreNodes></pvvirt:limits>")),
		 "5:87: <pvvirt:xenstoreNodes> is 0"},
		{"descriptor of no device",
		 EXTRA(OURS("<pvvirt:descriptors><pvvirt:disk target='xvdb'/>"
			    "</pvvirt:descriptors>")),
		 "5:92: <pvvirt:disk> target='xvdb' is no device of this domain, or appears twice"},
		{"descriptor of a pty",
		 DOC(OURS("<pvvirt:descriptors><pvvirt:console port='0'/></pvvirt:descriptors>"),
		     "<console type='pty'/>"),
		 "7:1: <console> type 'pty': one that comes as a descriptor has type 'null'"},
		{"twice", EXTRA("<metadata>" OURS("") OURS("") "</metadata>"),
		 "5:98: <pvvirt:domain> appears twice (first on line 5)"},
		{"in both places", EXTRA(OURS("") "<metadata>" OURS("") "</metadata>"),
		 "5:98: <pvvirt:domain> is in <metadata> and in <domain>"},
		{"unknown names of ours",
		 EXTRA("<metadata>" OURS("<pvvirt:magic/>") "<p:y xmlns:p='" NS "'/></metadata>"),
		 .warnings = "5:82: <pvvirt:magic> is ignored\n5:113: <p:y> is ignored"},
	};

	RUN_CASES(cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk),	cmocka_unit_test(test_interface),
		cmocka_unit_test(test_console), cmocka_unit_test(test_channel_controller_others),
		cmocka_unit_test(test_opaque),	cmocka_unit_test(test_pvvirt),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	schema_close();
	return r;
}
