# SPDX-License-Identifier: MIT
# A domain as a Nomad job, without a container: the exec driver gives it a chroot, a cgroup and a user.
#
#   nomad job run -var kernel=https://artifacts.example.org/guest.elf domain.nomad.hcl
variable "kernel" {
  type = string
}

job "web" {
  type = "service"

  group "web" {
    count = 1

    restart {
      attempts = 10
      interval = "10m"
      delay    = "5s"
      mode     = "delay"
    }

    task "domain" {
      driver       = "exec"
      user         = "nobody"
      kill_signal  = "SIGTERM" # pvvirt asks the guest to power off
      kill_timeout = "60s"     # and this is its grace

      config {
        command = "/usr/bin/pvvirt"
        args    = ["run", "local/web.xml"]
      }

      artifact {
        source      = var.kernel
        destination = "local/guest.elf"
        mode        = "file"
      }

      template {
        destination = "local/web.xml"
        data        = <<XML
<domain type='xen'>
  <name>web</name>
  <memory unit='MiB'>256</memory>
  <os>
    <type arch='x86_64' machine='xenpv'>linux</type>
    <kernel>{{ env "NOMAD_TASK_DIR" }}/guest.elf</kernel>
  </os>
  <on_crash>destroy</on_crash>
</domain>
XML
      }

      resources {
        cpu    = 500
        memory = 320 # RAM of the guest, and what its sandbox may take beyond it
      }
    }
  }
}
