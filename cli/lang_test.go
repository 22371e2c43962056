package cli

import (
	"net"
	"strings"
	"testing"
)

// What a student meets in the labs is said in Chinese below the English sentence, which stays as it is.
func TestErrorsInChinese(t *testing.T) {
	busyboxImage(t)
	my(t, "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sleep", "1000")
	t.Cleanup(func() { my(t, "rm", "-f", "web", "off") })
	my(t, "create", "--name", "off", "busybox", "true")
	taken, err := net.Listen("tcp", "0.0.0.0:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct{ args, english, chinese string }{
		{"run --name web busybox true", `the container name "web" is already in use`, "名字“web”已经被容器"},
		{"run --name a busybox true", "invalid container name (a)", "“a”不能作容器名"},
		{"run -p 8080:80 busybox true", "port is already allocated to container web", "已经发布给容器 web"},
		{"run -p 9000:80 busybox true", "uses it: stop it, or choose another host port", "主机的这个端口被程序"},
		{"run -p 99999:80 busybox true", "99999 is not a port", "99999 不是端口号"},
		{"run --rm busybox nosuch", `exec: "nosuch": executable file not found in $PATH`, "容器里没有这个命令"},
		{"run --rm --pull never nosuch true", `no image "nosuch`, "这里没有镜像 nosuch"},
		{"run --rm --network nonet busybox true", "network nonet not found", "没有网络 nonet：`mydocker network ls`"},
		{"run --rm --ip 172.17.0.9 busybox true", "user defined networks only", "只能用在自己建的网络上"},
		{"run --rm --network container:nobody busybox true", "no such container: nobody", "没有容器 nobody"},
		{"run -m 1k busybox true", "minimum memory limit", "至少是 6MB"},
		{"run --bogus busybox", "unknown flag: --bogus", "没有这个选项：--bogus"},
		{"run", "requires at least 1 argument", "至少要 1 个"},
		{"bogus", "unknown command: mydocker bogus", "没有这个命令：mydocker bogus"},
		{"exec nobody true", "no such container: nobody", "没有容器 nobody"},
		{"exec off true", "container off is not running", "先 `mydocker start off`"},
		{"exec web nosuch", "executable file not found", "容器里没有这个命令"},
		{"rm web", "container web is running: stop it first", "容器 web 还没有停"},
		{"rmi busybox", "is used by container", "先删掉那个容器"},
		{"inspect nobody", "no such object: nobody", "没有叫 nobody 的容器"},
		{"volume rm nobody", "no such volume: nobody", "没有卷 nobody"},
		{"network create --subnet 172.17.0.0/24 over", "overlaps with network bridge", "和 network bridge（172.17.0.0/16）重叠"},
		{"network create --subnet 172.20.0.5/16 over", "has bits set behind", "应该是 172.20.0.0/16"},
		{"network create --subnet 1.2.3 over", "is not an address and a prefix", "不是“地址/前缀长度”"},
		{"network create bridge", "is reserved", "是保留的"},
		{"network rm bridge", "pre-defined network", "bridge 是自带的网络"},
		{"network rm nonet", "network nonet not found", "没有网络 nonet"},
		{"network connect bridge web", "already connected to network bridge", "已经连在网络 bridge 上了"},
		{"load -i /nosuch", "no such file or directory", "没有那个文件或目录"},
		{"doctor nothing", "no container, network, port, namespace or link is called nothing", "没有叫 nothing 的容器、网络"},
		{"doctor --json --fix", "conflicting options: --json and --fix", "不能一起用：--json 和 --fix"},
		{"trace nobody web", "no container and no namespace is called nobody", "没有叫 nobody 的容器或命名空间"},
		{"trace web web:80/icmp", "icmp has no ports", "icmp 没有端口"},
		{"trace 192.0.2.9 web", "nobody here has the address 192.0.2.9", "这里谁也没有地址 192.0.2.9"},
		{"topology --format gif", `invalid --format "gif"`, "没有格式“gif”"},
		{"why nothing", "nothing of that name is here", "这里没有叫这个名字的东西"},
		{"step step ps", "step cannot be walked", "step 后面不能再是 step"},
		{"lab start nolab", "nolab", "nolab"},
		{"sandbox status nobody", "", "没有沙箱 nobody"},
	} {
		_, errs, code := onHost(t, append([]string{"--lang", "zh"}, strings.Fields(c.args)...)...)
		if code == 0 || !strings.Contains(errs, c.english) || !strings.Contains(errs, "mydocker: ") || !strings.Contains(errs, c.chinese) || strings.Contains(errs, "⟪") {
			t.Errorf("%s: status %d\n%s\nlacks %q", c.args, code, errs, c.chinese)
		}
		if _, plain, same := onHost(t, strings.Fields(c.args)...); same != code || strings.ContainsFunc(plain, func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff }) {
			t.Errorf("%s without --lang: status %d\n%s", c.args, same, plain)
		}
	}
}
