package main

import (
	"strings"
)

// step is one command line that both are given.
type step struct {
	name    string
	compare way
	args    []string
	// shell is a script instead, in which DOCKER stands for the program.
	shell    string
	in       string
	mask     map[string]string // patterns to replace besides the usual ones
	anyOrder bool
}

func see(name string, compare way, line string) step {
	return step{name: name, compare: compare, args: strings.Fields(line)}
}

// format is a step whose last arguments, such as a template, may hold spaces.
func format(name string, compare way, line string, templates ...string) step {
	return step{name: name, compare: compare, args: append(strings.Fields(line), templates...)}
}

func script(name string, compare way, text string) step {
	return step{name: name, compare: compare, shell: text}
}

// steps are a life of some containers, networks, volumes and images.
func steps(scratch string) []step {
	return concat(imageSteps(), createSteps(), lookSteps(), lifeSteps(), streamSteps(), networkSteps(), volumeSteps(), typedSteps(), errorSteps(), systemSteps(), []step{
		see("rm", lines, "rm -f -v web created gone limited logger term"),
		see("network rm", lines, "network rm net1"),
		see("volume rm", lines, "volume rm vol1"),
	})
}

func concat(lists ...[]step) (all []step) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func imageSteps() []step {
	return []step{
		see("images", columns, "images"),
		format("images template", lines, "images --format", "{{.Repository}}:{{.Tag}}"),
		see("images -q", lines, "images -q --no-trunc"),
		see("tag", status, "tag busybox other:v1"),
		see("images other", columns, "images other"),
		see("image inspect", keys, "image inspect busybox"),
		see("history", columns, "history busybox"),
		see("rmi", columns, "rmi other:v1"),
		see("image ls json", keys, "image ls --format json"),
	}
}

func createSteps() []step {
	return []step{
		see("network create", lines, "network create net1"),
		see("volume create", lines, "volume create vol1"),
		see("create", lines, "create --name created -e A=b -l color=blue busybox true"),
		see("run -d", lines, "run -d --name web --network net1 -p 18080:80 -v vol1:/data --hostname www -e A=b -l color=red -m 64m --restart on-failure:3 --health-cmd true --health-interval 1s busybox httpd -f -p 80"),
		see("run -d exits", lines, "run -d --name gone busybox sh -c exit${IFS}3"),
		see("run limited", lines, "run -d --name limited --cpus 0.5 --pids-limit 50 --cap-add NET_ADMIN --cap-drop CHOWN --read-only --tmpfs /scratch --ulimit nofile=100:200 --sysctl net.ipv4.ip_forward=0 --dns 9.9.9.9 --add-host a:1.2.3.4 --security-opt no-new-privileges --init -u 1000:1000 -w /tmp busybox sleep 1000"),
		see("run -t", lines, "run -dit --name term busybox sh"),
		script("run logger", lines, `DOCKER run -d --name logger busybox sh -c 'echo one; echo two >&2; printf three'`),
		script("wait", lines, "DOCKER wait gone logger"),
	}
}

func lookSteps() []step {
	ps := map[string]string{`"?Up .*?\(healthy\)"?|\(health: starting\)`: "UP", `Up SHORT TIME`: "UP"}
	return []step{
		script("settle", nothing, `sleep 1.5; for i in $(seq 100); do [ "$(DOCKER inspect -f "{{.State.Health.Status}}" web)" = healthy ] && break; sleep 0.2; done`),
		see("ps", columns, "ps"),
		see("ps -a", columns, "ps -a"),
		see("ps -s", columns, "ps -as"),
		see("ps -q", lines, "ps -aq"),
		see("ps -l", columns, "ps -l"),
		see("ps -n", columns, "ps -n 2"),
		{name: "ps fields", compare: lines, args: append(strings.Fields("ps -a --no-trunc --format"),
			"{{.Names}}|{{.Image}}|{{.Command}}|{{.State}}|{{.Status}}|{{.Ports}}|{{.Labels}}|{{.Mounts}}|{{.LocalVolumes}}|{{.Networks}}"), mask: ps, anyOrder: true},
		see("ps json", keys, "ps -a --format json"),
		{name: "ps table", compare: lines, args: append(strings.Fields("ps -a --format"), `table {{.Names}}\t{{.Label "color"}}\t{{.Image}}`)},
		format("ps filter status", lines, "ps -a -f status=exited --format", "{{.Names}}"),
		format("ps filter name", lines, "ps -a -f name=we --format", "{{.Names}}"),
		format("ps filter label", lines, "ps -a -f label=color=red --format", "{{.Names}}"),
		format("ps filter exited", lines, "ps -a -f exited=3 --format", "{{.Names}}"),
		format("ps filter ancestor", lines, "ps -f ancestor=busybox --format", "{{.Names}}"),
		format("ps filter network", lines, "ps -f network=net1 --format", "{{.Names}}"),
		format("ps filter volume", lines, "ps -f volume=vol1 --format", "{{.Names}}"),
		format("ps filter health", lines, "ps -f health=healthy --format", "{{.Names}}"),
		format("ps filter publish", lines, "ps -f publish=18080 --format", "{{.Names}}"),
		see("ps filter unknown", status, "ps -f nonsense=1"),
		see("inspect", keys, "inspect web"),
		see("inspect created", keys, "inspect created"),
		see("inspect limited", keys, "inspect limited"),
		see("inspect terminal", keys, "inspect term"),
		{name: "inspect values", compare: lines, args: append(strings.Fields("inspect -f"), inspectTemplate, "limited"), mask: map[string]string{`/\S*/`: "DIR/"}},
		{name: "inspect values of web", compare: lines, args: append(strings.Fields("inspect -f"), inspectTemplate, "web"), mask: map[string]string{`/\S*/`: "DIR/"}},
		{name: "inspect values of term", compare: lines, args: append(strings.Fields("inspect -f"), inspectTemplate, "term"), mask: map[string]string{`/\S*/`: "DIR/"}},
		{name: "inspect mounts", compare: lines, args: append(strings.Fields("inspect -f"), "{{json .Mounts}}", "web"), mask: map[string]string{`"Source":"[^"]*"`: "SOURCE"}},
		format("inspect network", lines, "inspect web -f", "{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.IPPrefixLen}} {{$v.Links}}{{end}}"),
		format("inspect ports", lines, "inspect web -f", "{{json .HostConfig.PortBindings}}"),
		see("port", lines, "port web"),
		see("port of one", lines, "port web 80"),
		see("port of one tcp", lines, "port web 80/tcp"),
		see("port of none", status, "port web 81"),
		see("top", columns, "top web"),
		see("top options", columns, "top web -o pid,comm"),
		see("stats", columns, "stats --no-stream web"),
		see("stats all", columns, "stats --no-stream -a"),
		see("stats json", keys, "stats --no-stream --format json web"),
		see("container ls", columns, "container ls -a"),
		see("container inspect", keys, "container inspect web"),
	}
}

// inspectTemplate shows values that must be the same.
const inspectTemplate = `{{.Name}} {{.Path}} {{json .Args}} {{.RestartCount}} {{.Driver}} {{.Platform}}
{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.State.OOMKilled}} {{.State.Dead}} [{{.State.Error}}] {{.State.FinishedAt}}
{{json .Config.Env}} {{json .Config.Cmd}} {{json .Config.Entrypoint}} {{.Config.Image}} {{json .Config.Labels}} {{json .Config.Volumes}}
{{.Config.AttachStdin}} {{.Config.AttachStdout}} {{.Config.AttachStderr}} {{.Config.OpenStdin}} {{.Config.StdinOnce}} {{.Config.Tty}} {{.Config.User}} {{.Config.WorkingDir}} [{{.Config.StopSignal}}]
{{json .Config.ExposedPorts}} {{json .Config.Healthcheck}}
{{json .HostConfig.Binds}}
{{json .HostConfig.RestartPolicy}} {{.HostConfig.NetworkMode}} {{.HostConfig.AutoRemove}} {{json .HostConfig.CapAdd}} {{json .HostConfig.CapDrop}} {{json .HostConfig.Dns}} {{json .HostConfig.ExtraHosts}} {{json .HostConfig.GroupAdd}}
{{.HostConfig.IpcMode}} [{{.HostConfig.PidMode}}] [{{.HostConfig.UTSMode}}] {{.HostConfig.Privileged}} {{.HostConfig.ReadonlyRootfs}} {{json .HostConfig.SecurityOpt}} {{json .HostConfig.Tmpfs}} {{json .HostConfig.Sysctls}} {{.HostConfig.ShmSize}}
{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}} {{json .HostConfig.PidsLimit}} {{json .HostConfig.Ulimits}} {{json .HostConfig.Init}} {{json .HostConfig.OomKillDisable}} {{json .HostConfig.Devices}} {{.HostConfig.OomScoreAdj}}
{{json .HostConfig.LogConfig}} {{json .HostConfig.MaskedPaths}} {{json .HostConfig.ReadonlyPaths}}`

func lifeSteps() []step {
	return []step{
		see("pause", lines, "pause web"),
		format("ps paused", lines, "ps -f status=paused --format", "{{.Names}} {{.State}}"),
		see("exec paused", status, "exec web true"),
		see("unpause", lines, "unpause web"),
		see("unpause again", status, "unpause web"),
		see("rename", status, "rename gone away"),
		see("rename back", status, "rename away gone"),
		see("update", lines, "update -m 80m --memory-swap 80m web"),
		see("update restart", lines, "update --restart no web"),
		see("kill", lines, "kill -s KILL limited"),
		format("killed", lines, "inspect limited -f", "{{.State.ExitCode}} {{.State.Status}}"),
		see("start", lines, "start limited"),
		see("start again", lines, "start limited"),
		see("restart", lines, "restart -t 0 limited"),
		see("stop", lines, "stop -t 0 limited"),
		see("stop again", lines, "stop limited"),
		format("stopped", lines, "inspect limited -f", "{{.State.ExitCode}} {{.State.Status}}"),
		script("start -a", lines, "DOCKER start -a logger; echo $?"),
		see("wait", lines, "wait gone"),
		see("rm running", status, "rm web"),
		script("run --rm status", lines, "DOCKER run --rm busybox sh -c 'exit 7'; echo $?"),
		script("run not found", lines, "DOCKER run --rm busybox nonsense 2>/dev/null; echo $?"),
		script("run not executable", lines, "DOCKER run --rm busybox /etc/passwd 2>/dev/null; echo $?"),
		script("exec status", lines, "DOCKER exec web sh -c 'exit 9'; echo $?"),
		script("exec not found", lines, "DOCKER exec web nonsense >/dev/null 2>&1; echo $?"),
		script("exec environment", lines, `DOCKER exec -e X=y -w /tmp -u 1:2 web sh -c 'echo $X $PWD; id; env | grep -v HOSTNAME | sort'`),
		script("exec stdin", lines, "echo hello | DOCKER exec -i web cat"),
		see("exec -d", status, "exec -d web sleep 1"),
		script("signal", lines, `DOCKER run -d --name term2 busybox sh -c 'trap "echo got; exit 5" USR1; while :; do sleep 0.1; done' >/dev/null; sleep 0.5
DOCKER kill -s USR1 term2; DOCKER wait term2; DOCKER logs term2; DOCKER rm term2`),
		see("diff", lines, "diff logger"),
		script("diff of changes", lines, `DOCKER run --name changed busybox sh -c 'echo x >/new; rm /etc/group; chmod 700 /tmp'; DOCKER diff changed; DOCKER rm changed`),
	}
}

func streamSteps() []step {
	return []step{
		see("logs", lines, "logs logger"),
		script("logs stderr", lines, "DOCKER logs logger 2>&1 >/dev/null"),
		see("logs tail", lines, "logs -n 1 logger"),
		{name: "logs -t", compare: lines, args: strings.Fields("logs -t logger")},
		see("logs since", lines, "logs --since 1h logger"),
		see("logs until", lines, "logs --until 1h logger"),
		see("logs -f of one that has ended", lines, "logs -f logger"),
		script("piping", lines, "seq 10000 | DOCKER run -i --rm busybox md5sum"),
		script("cp out", lines, "DOCKER cp web:/etc/passwd - | tar tv | awk '{print $1, $NF}'"),
		script("cp in", lines, "echo hello >/tmp/compare-cp; DOCKER cp /tmp/compare-cp web:/tmp/x && DOCKER exec web cat /tmp/x"),
		script("export", lines, "DOCKER export logger | tar t | grep -c ."),
		script("commit", lines, "DOCKER commit -m text -a me -c 'CMD [\"x\"]' logger committed:v1 && DOCKER image inspect -f '{{.Comment}} {{.Author}} {{json .Config.Cmd}}' committed:v1; DOCKER rmi committed:v1 >/dev/null"),
		// Docker reckons --since and --until in whole seconds: what is asked for begins and ends with one of its own.
		{name: "events", compare: lines, shell: "sleep 1.1; DOCKER events --since 10m --until 0s --filter container=logger --format '{{.Type}} {{.Action}}'"},
		{name: "events of a life", compare: lines, shell: `sleep 1.1; since=$(date +%s); DOCKER run -d --name lived --network net1 -v vol1:/d busybox sleep 100 >/dev/null; DOCKER exec lived true; DOCKER pause lived; DOCKER unpause lived
DOCKER rename lived lived2; DOCKER restart -t 0 lived2; DOCKER kill lived2; sleep 0.3; DOCKER rm lived2 >/dev/null; sleep 1.1; DOCKER events --since $since --until 0s --format '{{.Type}} {{.Action}}'`, anyOrder: true},
		{name: "event json", compare: keys, shell: "DOCKER events --since 10m --until 0s --filter container=logger --filter event=die --format '{{json .}}'"},
	}
}

func networkSteps() []step {
	return []step{
		see("network ls", columns, "network ls"),
		format("network ls fields", lines, "network ls --format", "{{.Name}} {{.Driver}} {{.Scope}} {{.IPv6}} {{.Internal}}"),
		see("network ls json", keys, "network ls --format json"),
		see("network inspect", keys, "network inspect net1"),
		see("network inspect bridge", keys, "network inspect bridge"),
		see("network connect", status, "network connect bridge web"),
		see("network connect again", status, "network connect bridge web"),
		see("network disconnect", status, "network disconnect bridge web"),
		see("network rm in use", status, "network rm net1"),
		see("network rm of none", status, "network rm nonsense"),
		see("network create again", status, "network create net1"),
		see("network create wrong", status, "network create --subnet nonsense x"),
	}
}

func volumeSteps() []step {
	return []step{
		see("volume ls", columns, "volume ls"),
		see("volume ls -q", lines, "volume ls -q"),
		see("volume ls json", keys, "volume ls --format json"),
		see("volume inspect", keys, "volume inspect vol1"),
		see("volume create again", lines, "volume create vol1"),
		see("volume rm in use", status, "volume rm vol1"),
		see("volume rm of none", status, "volume rm nonsense"),
		see("volume ls dangling", columns, "volume ls -f dangling=true"),
		see("volume create with options", lines, "volume create -d local --opt type=tmpfs --opt device=tmpfs --opt o=size=100m,uid=1000 made"),
		see("volume create other options", lines, "volume create --opt type=tmpfs --opt device=tmpfs made"),
		format("volume options", lines, "volume inspect -f", "{{json .Options}}", "made"),
		script("volume with options", lines, `DOCKER run --rm -v made:/etc busybox sh -c 'stat -c %u /etc; ls /etc; grep " /etc " /proc/mounts'`),
		script("volume of a directory", lines, `mkdir -p /tmp/compare-bind; DOCKER volume create --opt type=none --opt device=/tmp/compare-bind --opt o=bind,ro bound; DOCKER run --rm -v bound:/b busybox touch /b/f`),
		script("volume not to be mounted", lines, "DOCKER volume create --opt type=none --opt device=/nonsense --opt o=bind nothing; DOCKER run --rm -v nothing:/b busybox true"),
		script("volume of a mount", lines, `DOCKER run --rm --mount 'type=volume,src=named,dst=/m,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=1m,mode=0700"' busybox stat -c %a /m; DOCKER volume rm named`),
		script("system df of volumes with options", lines, "DOCKER system df -v | grep -c -E '^(made|bound|nothing)'"),
		see("volume rm with options", lines, "volume rm made bound nothing"),
	}
}

func errorSteps() (list []step) {
	for _, line := range []string{
		"run", "run --nonsense busybox", "run --pull=never busybox:nonsense", "run --name web busybox true", "run --name a/b busybox true",
		"run -p 99999:1 busybox true", "run -v a:b:c:d busybox true", "run -m 1k busybox true", "run --cpus 1000 busybox true",
		"run --network nonsense busybox true", "run --restart nonsense busybox true", "run --rm --restart always busybox true",
		"run -w relative busybox true", "run -e =x busybox true", "run --cap-add NONSENSE busybox true", "run -u nonsense busybox true",
		"run --entrypoint nonsense busybox", "run --ulimit nonsense busybox true", "run -h a_b busybox true", "run --stop-signal NONSENSE busybox true",
		"run --network host --ip 1.2.3.4 busybox true", "run --ip 1.2.3.4 busybox true", "run --network none -p 80:80 busybox true", "run --volumes-from nonsense busybox true", "run --pid container:nonsense busybox true",
		"run --device /dev/nonsense busybox true", "run --log-driver nonsense busybox true", "run --sysctl kernel.hostname=x busybox true", "run --tmpfs relative busybox true",
		"run --mount type=bind,src=/nonsense,dst=/x busybox true", "run --mount nonsense busybox true",
		"create", "start", "start nonsense", "stop nonsense", "kill nonsense", "kill -s NONSENSE web", "kill gone", "rm nonsense", "rm -f nonsense", "exec", "exec nonsense true", "exec -u nonsense web true", "exec -w relative web true",
		"exec gone true", "logs nonsense", "inspect nonsense", "inspect -f {{.Nonsense}} web", "inspect -f {{ web", "pause gone", "attach gone", "attach nonsense", "wait nonsense", "rename web gone",
		"rename nonsense x", "update nonsense", "update web", "update -m 1k web", "top gone", "port nonsense", "stats nonsense", "diff nonsense", "cp nonsense:/x /tmp", "cp web:/nonsense /tmp",
		"commit nonsense", "tag nonsense x", "rmi nonsense", "rmi busybox", "image inspect nonsense", "history nonsense", "network inspect nonsense", "volume inspect nonsense", "network connect nonsense web",
		"network disconnect net1 logger", "nonsense", "container nonsense", "ps --nonsense", "ps extra", "load -i /nonsense", "events --since nonsense", "logs --since nonsense web", "logs --tail nonsense web",
	} {
		list = append(list, see("error", status, line))
	}
	return list
}

func systemSteps() []step {
	return []step{
		script("version", lines, "DOCKER version | sed 's/: .*//; s/:$//'"),
		script("info", lines, "DOCKER info | sed 's/: .*//; s/:$//'"),
		see("version json", keys, "version --format json"),
		see("info json", keys, "info --format json"),
		see("system df", columns, "system df"),
		script("system df verbose", lines, "DOCKER system df -v | grep -E 'usage|SIZE|^busybox|^vol' | tr -s ' ' | sed 's/[0-9]* $//; s/ [0-9]*$//'"),
		see("system df verbose json", keys, "system df -v --format json"),
		see("container prune", status, "container prune -f"),
		see("volume prune", status, "volume prune -f"),
		see("network prune", status, "network prune -f"),
		see("image prune", lines, "image prune -f"),
		see("help", status, "--help"),
		see("run help", status, "run --help"),
		see("no command", status, ""),
		see("group without a command", status, "container"),
	}
}
