//go:build installtest

package installtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// vm is a machine with a kernel of its own, in which SELinux enforces. Root's commands come by SSH, with a key of the test's own.
type vm struct {
	*machine
	key     ssh.Signer
	console *console
}

// TestSELinux rotates where a wrong label keeps sshd from reading the file. It takes minutes, so it runs by itself.
func TestSELinux(t *testing.T) {
	if os.Getenv(selinuxToo) == "" {
		t.Skip("not run: make selinux-test runs it")
	}
	needs(t, "debootstrap", "qemu-system-x86_64", "mkfs.ext4", "ip")
	if runtime.GOARCH != "amd64" {
		t.Skip("not run: the virtual machine is an amd64 one")
	}
	w := &worker{cloud: newCloud(t)}
	v := &vm{machine: &machine{root: newRoot(t, virtual.base(t)), number: 3}, console: &console{}}
	w.machine = v.machine
	w.instance = w.cloud.instance(t, w.machine)
	step(t, "make the machine's disk", func(t *testing.T) string { return v.makeDisk(t) })
	v.start(t)
	step(t, "boot with SELinux enforcing", func(t *testing.T) string {
		until(t, "a log-in as root", 5*time.Minute, func() (string, bool) {
			out, err := v.try("getenforce")
			return out + fmt.Sprint(err), err == nil
		})
		if mode := v.run(t, "getenforce"); mode != "Enforcing\n" {
			t.Fatalf("SELinux is %s", mode)
		}
		return "in " + strings.TrimSpace(v.run(t, "cat /proc/$(pidof -s rotatessh-agent)/attr/current | tr -d '\\0'")) + ", sshd in " +
			strings.TrimSpace(v.run(t, "cat /proc/$(pgrep -o -x sshd)/attr/current | tr -d '\\0'"))
	})
	step(t, "a rotation keeps the label", func(t *testing.T) string { return v.rotation(t, w) })
	step(t, "a new file and folder get the right label", func(t *testing.T) string { return v.fresh(t, w) })
	step(t, "sshd refuses a mislabelled file", func(t *testing.T) string { return v.mislabelled(t, w) })
	step(t, "nothing of the agent's was denied", func(t *testing.T) string {
		// That sshd -T stays in the agent's domain, for want of new privileges, is as it should be; the kernel notes it all the same.
		if denied := v.run(t, "journalctl -k -b -o cat --no-pager | grep 'avc:.*denied' | grep 'comm=\"rotatessh' | grep -v '{ nnp_transition }' || true"); denied != "" {
			t.Errorf("denied:\n%s", denied)
		}
		return "no AVC but for sshd -T, which keeps the agent's domain"
	})
}

// makeDisk installs the agent into the root, labels everything and turns it into a disk.
func (v *vm) makeDisk(t *testing.T) string {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if v.key, err = ssh.NewSignerFromKey(private); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(v.path("root/.ssh"), 0o700), os.MkdirAll(v.path("home/"+account+"/.ssh"), 0o700),
		os.MkdirAll(v.path("etc/systemd/system/rotatessh-agent.service.d"), 0o755)); err != nil {
		t.Fatal(err)
	}
	write(t, v.path("root/.ssh/authorized_keys"), string(ssh.MarshalAuthorizedKey(v.key.PublicKey())))
	write(t, v.path(keysFile), ownLine)
	write(t, v.path("root/agent.deb"), read(t, artifact(t, "rotatessh-agent_*_amd64.deb")))
	write(t, v.path("etc/hostname"), "selinux\n")
	write(t, v.path("etc/fstab"), "/dev/vda / ext4 rw 0 1\n")
	write(t, v.path("etc/systemd/network/10-any.network"), fmt.Sprintf("[Match]\nName=en* eth*\n[Network]\nAddress=%s/24\nGateway=%s\n", v.address(), v.gateway()))
	write(t, v.path("etc/systemd/system/rotatessh-agent.service.d/endpoint.conf"), "[Service]\nEnvironment=AWS_ENDPOINT_URL=http://"+v.gateway()+":"+apiPort+"\n")
	for _, command := range []string{
		"dpkg -i /root/agent.deb", "systemctl enable " + unit,
		"chown -R " + account + ":" + account + " /home/" + account, "chmod 600 /root/.ssh/authorized_keys /" + keysFile,
		"sed -i s/^SELINUX=.*/SELINUX=enforcing/ /etc/selinux/config",
		"printf '%s' '" + settings + "' >/" + configFile,
		"mount -t proc proc /proc && setfiles -F -e /proc /etc/selinux/default/contexts/files/file_contexts / && umount /proc",
	} {
		run(t, "chroot", v.root, "/bin/sh", "-c", command)
	}
	run(t, "mkfs.ext4", "-q", "-F", "-d", v.root, v.disk(), "2G")
	return strings.TrimSpace(run(t, "du", "-sh", v.root))
}

func (v *vm) disk() string { return v.root + ".img" }

// start powers the machine on. Its processor is emulated: that works everywhere, also inside another virtual machine.
func (v *vm) start(t *testing.T) {
	t.Helper()
	kernels, _ := filepath.Glob(v.path("boot/vmlinuz-*"))
	images, _ := filepath.Glob(v.path("boot/initrd.img-*"))
	if len(kernels) != 1 || len(images) != 1 {
		t.Fatalf("kernels %v, initial disks %v", kernels, images)
	}
	tap := "rsst3"
	run(t, "ip", "tuntap", "add", tap, "mode", "tap")
	run(t, "ip", "address", "replace", v.gateway()+"/24", "dev", tap)
	run(t, "ip", "link", "set", tap, "up")
	qemu := exec.Command("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "2", "-nographic", "-no-reboot",
		"-kernel", kernels[0], "-initrd", images[0], "-append", "root=/dev/vda rw console=ttyS0 security=selinux selinux=1 enforcing=1 quiet",
		"-drive", "file="+v.disk()+",format=raw,if=virtio,cache=unsafe", "-netdev", "tap,id=n,ifname="+tap+",script=no,downscript=no", "-device", "virtio-net-pci,netdev=n",
		"-device", "virtio-rng-pci")
	qemu.Stdout, qemu.Stderr = v.console, v.console
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := v.try("journalctl -b -o short-monotonic --no-pager | tail -60")
			t.Logf("console:\n%s\njournal:\n%s", v.console, out)
		}
		qemu.Process.Kill()
		qemu.Wait()
		os.Remove(v.disk())
	})
}

// try runs a shell command as root in the machine.
func (v *vm) try(command string) (string, error) {
	conn, err := net.DialTimeout("tcp", v.address()+":22", 3*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	c, chans, requests, err := ssh.NewClientConn(conn, v.address(), &ssh.ClientConfig{User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(v.key)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey()}) // a machine of our own on a wire of our own
	if err != nil {
		return "", err
	}
	client := ssh.NewClient(c, chans, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	out, err := session.CombinedOutput(command)
	return string(out), err
}

func (v *vm) run(t *testing.T, command string) string {
	t.Helper()
	out, err := v.try(command)
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

func (v *vm) label(t *testing.T, path string) string {
	t.Helper()
	return strings.TrimSpace(v.run(t, "stat -c %C "+path))
}

func (v *vm) rotation(t *testing.T, w *worker) string {
	w.cloud.ack(t, w.instance.ARN, func(a ledger.Ack) bool { return a.Outcome == ledger.Applied })
	before := v.run(t, "stat -c '%w' /"+keysFile)
	old := w.cloud.current(t)
	if err := login(v.machine, old); err != nil {
		t.Fatalf("log-in with the first key: %v", err)
	}
	w.cloud.rotate(t)
	if err := login(v.machine, w.cloud.current(t)); err != nil {
		t.Errorf("log-in with the new key: %v", err)
	}
	until(t, "the old key to be refused", retireAfter+60*time.Second, func() (string, bool) {
		err := login(v.machine, old)
		return fmt.Sprint(err), err != nil && strings.Contains(err.Error(), "unable to authenticate")
	})
	after := v.run(t, "stat -c '%w' /"+keysFile)
	if before == after {
		t.Error("the file was not replaced")
	}
	label := v.label(t, "/"+keysFile)
	if !strings.Contains(label, ":ssh_home_t:") {
		t.Errorf("the file is labelled %s", label)
	}
	return "new file, label " + label
}

// fresh takes the whole folder away: what the agent makes must be readable for sshd as well.
func (v *vm) fresh(t *testing.T, w *worker) string {
	v.run(t, "rm -r /home/"+account+"/.ssh && systemctl reload "+unit)
	until(t, "a log-in", time.Minute, func() (string, bool) {
		err := login(v.machine, w.cloud.current(t))
		return fmt.Sprint(err) + v.run(t, "ls -laZ /home/"+account+"/.ssh 2>&1 || true"), err == nil
	})
	folder, file := v.label(t, "/home/"+account+"/.ssh"), v.label(t, "/"+keysFile)
	if !strings.Contains(folder, ":ssh_home_t:") || !strings.Contains(file, ":ssh_home_t:") {
		t.Errorf("the folder is labelled %s, the file %s", folder, file)
	}
	return "folder and file " + file
}

// mislabelled shows that the test sees what it is meant to see: with a wrong label sshd refuses the key, and the agent says so.
func (v *vm) mislabelled(t *testing.T, w *worker) string {
	v.run(t, "chcon -t user_tmp_t /"+keysFile+" && systemctl reload "+unit)
	err := login(v.machine, w.cloud.current(t))
	if err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("log-in by a file labelled user_tmp_t: %v", err)
	}
	contains(t, v.run(t, "journalctl -b -o cat --no-pager -u ssh.service"), "authorized keys '/"+keysFile+"': Permission denied")
	// Whether the kernel notes it is for the policy to say; why sshd was not permitted is beyond doubt, since restorecon mends it.
	avc := v.run(t, "journalctl -b -o cat --no-pager | grep -c 'avc:.*denied.*user_tmp_t' || true")
	ack := w.cloud.ack(t, w.instance.ARN, func(a ledger.Ack) bool { return a.Outcome == ledger.Failed })
	v.run(t, "restorecon /"+keysFile+" && systemctl reload "+unit)
	w.cloud.ack(t, w.instance.ARN, func(a ledger.Ack) bool { return a.Outcome == ledger.Applied })
	if err := login(v.machine, w.cloud.current(t)); err != nil {
		t.Errorf("log-in after restorecon: %v", err)
	}
	return fmt.Sprintf("log-in refused (%s AVC), acknowledged as failed: %s; mended by restorecon", strings.TrimSpace(avc), ack.Code)
}
