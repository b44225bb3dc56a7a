#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The manifests of examples/scale-out as far as they can be tried without their engines."""
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import stage

sys.path.insert(0, str(stage.SOURCE / "tests/linux"))
import linuxlib  # noqa: E402

stage.skip_if_sanitized()
HERE = stage.SOURCE / "examples/scale-out"
try:
    import yaml
except ImportError:
    yaml = None


class Kubernetes(unittest.TestCase):
    @unittest.skipUnless(yaml, "python3-yaml is missing")
    def test_yaml(self):
        doc = yaml.safe_load((HERE / "kubernetes/domain.yaml").read_text())
        self.assertEqual((doc["apiVersion"], doc["kind"]), ("apps/v1", "StatefulSet"))
        pod = doc["spec"]["template"]["spec"]
        self.assertEqual(doc["spec"]["selector"]["matchLabels"], doc["spec"]["template"]["metadata"]["labels"])
        self.assertTrue(pod["securityContext"]["runAsNonRoot"])
        self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "Localhost", "localhostProfile": "pvvirt.json"})
        container = pod["containers"][0]
        self.assertEqual(container["securityContext"], {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                                        "capabilities": {"drop": ["ALL"]}})
        claims = [c["metadata"]["name"] for c in doc["spec"]["volumeClaimTemplates"]]
        volumes = {v["name"] for v in pod["volumes"]} | set(claims)
        self.assertLessEqual({m["name"] for m in container["volumeMounts"]}, volumes)

    def test_schema(self):
        """kubectl reads the file into Kubernetes' own types: nothing is refused, and no field unknown to them gets lost."""
        if not shutil.which("kubectl"):
            self.skipTest("skipped: no kubectl; install kubernetes-client")

        def lost(text):
            """Of the fields of text, those that do not come back out of the types."""
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
                f.write(text)
                f.flush()
                r = subprocess.run(["kubectl", "set", "env", "--local", "-f", f.name, "-o", "json", "ADDED=yes"], text=True,
                                   capture_output=True, timeout=60)
            return [r.stderr] if r.returncode else list(missing(yaml.safe_load(text), json.loads(r.stdout), ""))

        def missing(want, have, path):
            if isinstance(want, dict):
                for key, value in want.items():
                    yield from missing(value, have[key], f"{path}.{key}") if key in have else [f"{path}.{key}"]
            elif isinstance(want, list):
                for i, value in enumerate(want):
                    yield from missing(value, have[i], f"{path}[{i}]") if i < len(have) else [f"{path}[{i}]"]
            elif str(want) != str(have):
                yield path

        text = (HERE / "kubernetes/domain.yaml").read_text()
        self.assertEqual(lost(text), [])
        self.assertEqual(lost(text.replace("stdin: true", "stdim: true")), [".spec.template.spec.containers[0].stdim"])
        self.assertIn("unable to decode", lost(text.replace("replicas: 1", "replicas: one"))[0])

    def test_seccomp_profile(self):
        """Guests under exactly this profile; and without what engines' own profiles refuse as well."""
        doc = json.loads((HERE / "kubernetes/seccomp.json").read_text())
        self.assertEqual(doc["defaultAction"], "SCMP_ACT_ERRNO")
        names = [n for rule in doc["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for n in rule["names"]]
        for never in "mount", "bpf", "init_module", "ptrace", "keyctl", "unshare", "kexec_load":
            self.assertNotIn(never, names)
        with tempfile.TemporaryDirectory(prefix="pvv-seccomp-") as tmp:
            tmp = pathlib.Path(tmp)
            subprocess.run(["cc", "-o", tmp / "confine", stage.SOURCE / "tests/system/confine.c", "-lseccomp"], check=True)
            st = stage.Stage(tmp)
            for f in st.pvvirt, stage.GUESTS / "hello.elf", *st.lib.glob("libpvvirt.so.*"):
                shutil.copy(f, tmp)
            os.chmod(tmp, 0o755)
            guests = [(["--kernel", tmp / "hello.elf"], "Hello")]
            if linuxlib.KERNELS:  # its programs have processes of their own
                kernel = linuxlib.CACHE / f"vmlinuz-{linuxlib.KERNELS[0]}"
                guests.append((["--kernel", kernel, "--initrd", shutil.copy(linuxlib.initramfs(), tmp), "--memory", "256M",
                                "--vcpus", "2", "--cmdline", 'console=hvc0 quiet -- "ls / | grep -c ."'],
                               "pvv-exit-status: 0"))
            else:
                print("no Linux guest: scripts/fetch-guests cloud busybox", file=sys.stderr)
            engines = [n for n in names if n != "clone3" and not n.startswith("io_uring_")]
            for allowed, (guest, says) in itertools.product((names, engines), guests):
                (tmp / "names").write_text("\n".join(allowed) + "\n")
                cmd = [tmp / "confine", tmp / "names", tmp / "pvvirt", "run", "--timeout", "60", *guest]
                if os.getuid() == 0:
                    cmd = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all",
                           "--bounding-set=-all", "--no-new-privs", *cmd]
                r = subprocess.run([str(c) for c in cmd], env=dict(os.environ, LD_LIBRARY_PATH=str(tmp)), text=True,
                                   capture_output=True, stdin=subprocess.DEVNULL, timeout=90)
                self.assertEqual(r.returncode, 0, r.stderr)
                self.assertIn(says, r.stdout)


class Nomad(unittest.TestCase):
    """There is no Nomad in Debian 12, but the parser of its language is."""

    def test_syntax(self):
        if not shutil.which("go") or not os.path.exists("/usr/share/gocode/src/github.com/hashicorp/hcl/v2"):
            self.skipTest("skipped: no HCL parser; install golang-go and golang-github-hashicorp-hcl-v2-dev")
        text = (HERE / "nomad/domain.nomad.hcl").read_text()
        with tempfile.TemporaryDirectory(prefix="pvv-hcl-") as tmp:
            (pathlib.Path(tmp) / "parse.go").write_text(PARSE_HCL)
            env = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOCACHE=tmp + "/cache", GOFLAGS="")
            subprocess.run(["go", "build", "-o", tmp + "/parse", tmp + "/parse.go"], env=env, check=True, timeout=300)
            parse = lambda text: subprocess.run([tmp + "/parse"], input=text, text=True, capture_output=True)
            r = parse(text)
            self.assertEqual((r.returncode, r.stdout.splitlines()), (0, [
                "variable kernel", "job web", "job web group web", "job web group web restart", "job web group web task domain",
                "job web group web task domain config", "job web group web task domain artifact",
                "job web group web task domain template", "job web group web task domain resources"]), r.stderr)
            self.assertEqual(parse(text.replace("count = 1", "count = = 1")).returncode, 1)

    def test_what_it_says(self):
        text = (HERE / "nomad/domain.nomad.hcl").read_text()
        self.assertIn('kill_signal  = "SIGTERM"', text)


PARSE_HCL = """package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func walk(body *hclsyntax.Body, above string) {
	for _, b := range body.Blocks {
		name := strings.Join(append([]string{b.Type}, b.Labels...), " ")
		fmt.Println(above + name)
		walk(b.Body, above+name+" ")
	}
}

func main() {
	src, _ := io.ReadAll(os.Stdin)
	f, diags := hclsyntax.ParseConfig(src, "job", hcl.Pos{Line: 1, Column: 1})
	if diags.HasErrors() {
		fmt.Fprintln(os.Stderr, diags)
		os.Exit(1)
	}
	walk(f.Body.(*hclsyntax.Body), "")
}
"""


if __name__ == "__main__":
    if not shutil.which("setpriv"):
        print("skipped: no setpriv; install util-linux")
        sys.exit(77)
    unittest.main(verbosity=2)
