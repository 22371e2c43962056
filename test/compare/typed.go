package main

import "strings"

// typedSteps are the documented forms of commands, as a user or a script types them: what they print has to be the same, line by line, and
// what is wrong has to end with the same status. DOCKER stands for the program; of errors only the status is compared.
func typedSteps() (list []step) {
	for line := range strings.Lines(typed) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, script("typed "+line, lines, line))
		}
	}
	return list
}

const typed = `
DOCKER ps -a -f status=created --format '{{.Names}}'
DOCKER ps -a -f status=nonsense
DOCKER ps -a -f health=none --format '{{.Names}}' | sort
DOCKER ps -a -f health=nonsense
DOCKER ps -a -f is-task=true
DOCKER ps -a -f is-task=maybe
DOCKER ps -a -f isolation=default -q | wc -l
DOCKER ps -a -f exited=x
DOCKER ps -a -f exited=3 -f exited=0 --format '{{.Names}}'
DOCKER ps -a -f before=gone --format '{{.Names}}' | sort
DOCKER ps -a -f since=gone --format '{{.Names}}' | sort
DOCKER ps -a -f since=nonsense
DOCKER ps -a -f label=color --format '{{.Names}}'
DOCKER ps -a -f label=color=green --format '{{.Names}}'
DOCKER ps -a -f name=^/web$ --format '{{.Names}}'
DOCKER ps -a -f name=^web$ --format '{{.Names}}'
DOCKER ps -a -f volume=/data --format '{{.Names}}'
DOCKER ps -a -f network=none --format '{{.Names}}'
DOCKER ps -a -f publish=18080/tcp --format '{{.Names}}'
DOCKER ps -a -f publish=18000-18100 --format '{{.Names}}'
DOCKER ps -a -f publish=x
DOCKER ps -a -f expose=80 --format '{{.Names}}'
DOCKER ps -a -f expose=80/udp
DOCKER ps -a -f ancestor=nonsense -q
DOCKER ps -a -f id=$(DOCKER inspect -f '{{.Id}}' web | cut -c1-5) --format '{{.Names}}'
DOCKER ps -a -f color
DOCKER ps -a -f '' -q | wc -l
DOCKER ps --format '{{.Nonsense}}'
DOCKER ps --format '{{.Names'
DOCKER ps -a --format '{{.Names}} {{.Platform}} {{.LocalVolumes}} {{.Mounts}}' | sort
DOCKER ps -as --format '{{.Names}} {{.Size}}' | sed 's/ (.*//' | sort
DOCKER ps -a --format raw | cut -d: -f1 | sort | uniq -c
DOCKER ps -as -f name=web --format raw | cut -d: -f1
DOCKER ps -aq -f name=web --format raw
DOCKER images --format raw
DOCKER images -q --format raw
DOCKER images --digests --format raw | cut -d: -f1
DOCKER network ls -f name=net1 --format raw
DOCKER network ls -q -f name=net1 --format raw
DOCKER volume ls -f name=vol1 --format raw
DOCKER volume ls -q -f name=vol1 --format raw
DOCKER system df --format raw | cut -d: -f1
DOCKER history --format raw busybox | sort -u
DOCKER network inspect -v net1 | tr -d ' ' | head -3
DOCKER run --rm --dns-opt ndots:9 busybox grep options /etc/resolv.conf
DOCKER run --rm --pull never --platform linux/s390x busybox true
DOCKER create --pull never --platform linux/s390x busybox true
DOCKER ps -n 1 --format '{{.Names}}'
DOCKER ps -n x
DOCKER ps --format '{{json .Names}} {{upper .Names}} {{pad .Names 3 3}}| {{join (split .Image "b") "-"}} {{title .Names}} {{lower .Names}}' | sort
DOCKER ps -q --format '{{.Names}}' | wc -l
DOCKER inspect web nonsense gone --format '{{.Name}}'
DOCKER inspect web nonsense gone --format '{{.Name}}' 2>/dev/null; true
DOCKER inspect nonsense nonsense2
DOCKER inspect --type container busybox
DOCKER inspect --type image web
DOCKER inspect --type nonsense web
DOCKER inspect --type volume vol1 -f '{{.Name}}'
DOCKER inspect --type network net1 -f '{{.Name}}'
DOCKER inspect vol1 net1 web -f '{{json .Name}}'
DOCKER inspect -f json web nonsense gone | tr , '\n' | grep -c '"Id"'
DOCKER inspect -f json nonsense
DOCKER network inspect -f json none | cut -c1-7
DOCKER inspect -s gone | grep -c Size
DOCKER inspect -f '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{end}}' web
DOCKER inspect -f '{{index .Config.Labels "color"}} {{.NetworkSettings.Networks.net1.IPPrefixLen}}' web
DOCKER inspect --format='{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}' web
DOCKER inspect --format='{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{(index $conf 0).HostPort}} {{end}}' web
DOCKER inspect
DOCKER network ls -f driver=bridge --format '{{.Name}}'
DOCKER network ls -f driver=null --format '{{.Name}}'
DOCKER network ls -f type=custom --format '{{.Name}}'
DOCKER network ls -f type=builtin --format '{{.Name}}'
DOCKER network ls -f type=nonsense
DOCKER network ls -f scope=local --format '{{.Name}}'
DOCKER network ls -f scope=swarm -q
DOCKER network ls -f name=et1 --format '{{.Name}}'
DOCKER network ls -f id=$(DOCKER network inspect -f '{{.Id}}' net1) --format '{{.Name}}'
DOCKER network ls -f nonsense=1
DOCKER network ls --no-trunc -q | wc -L
DOCKER network inspect net1 nonsense -f '{{.Name}}'
DOCKER network inspect net1 -f '{{range .Containers}}{{.Name}} {{end}}{{json .IPAM.Driver}} {{json .Labels}}'
DOCKER network rm bridge
DOCKER network create bridge
DOCKER network create
DOCKER network create a b
DOCKER network create --driver nonsense x1
DOCKER network create --subnet 10.1.0.0/16 --gateway 10.2.0.1 x1
DOCKER network create --subnet 10.1.0.0/16 --ip-range 10.2.0.0/24 x1
DOCKER network create --gateway 10.2.0.1 x1
DOCKER network connect net1 web
DOCKER network connect nonsense web
DOCKER network connect net1 nonsense
DOCKER network connect net1
DOCKER network connect --ip 10.0.0.9 net1 created
DOCKER network disconnect net1 nonsense
DOCKER network disconnect bridge web
DOCKER images --format '{{.Repository}} {{.Tag}} {{.ID}} {{.Size}} {{.Containers}} {{.SharedSize}} {{.UniqueSize}} {{.VirtualSize}}'
DOCKER images -q --format '{{.Repository}}' | sort -u
DOCKER images --digests | head -1 | tr -s ' '
DOCKER images -f dangling=true -q
DOCKER images -f dangling=x
DOCKER images -f reference='busy*' --format '{{.Repository}}'
DOCKER images -f reference='*:latest' --format '{{.Repository}}'
DOCKER images -f before=busybox -q
DOCKER images -f since=nonsense
DOCKER images -f label=x -q
DOCKER images -f nonsense=x
DOCKER images busybox:v2
DOCKER images busybox other
DOCKER image inspect nonsense busybox -f '{{.Os}}'
DOCKER image inspect
DOCKER history -q busybox | wc -l
DOCKER history -H=false --format '{{.CreatedSince}} {{.CreatedAt}}' busybox
DOCKER history --format json busybox | tr , '\n' | cut -d: -f1 | sort
DOCKER tag busybox 'BAD NAME'
DOCKER tag busybox UPPER:x
DOCKER tag busybox
DOCKER image prune -f --filter until=nonsense
DOCKER image prune -f --filter nonsense=1
DOCKER image rm -f nonsense
DOCKER image rm
DOCKER volume ls --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}} {{.Links}} {{.Size}} {{.Status}} {{.Group}} {{.Availability}}'
DOCKER volume ls -f dangling=false -q
DOCKER volume ls -f dangling=x -q
DOCKER volume ls -f driver=local -q
DOCKER volume ls -f driver=nonsense -q
DOCKER volume ls -f name=ol -q
DOCKER volume ls -f label=x -q
DOCKER volume ls -f nonsense=x -q
DOCKER volume ls extra
DOCKER volume create a b
DOCKER volume create 'a b'
DOCKER volume create -d nonsense x
DOCKER volume inspect
DOCKER volume rm
DOCKER volume rm -f nonsense
DOCKER volume prune -f --filter nonsense=x
DOCKER port web x
DOCKER port web 80/xyz
DOCKER port gone
DOCKER port
DOCKER top web -o pid,comm | awk '{print $2}'
DOCKER top web aux | awk 'NR==1 || /httpd/ {print NF, $1}'
DOCKER top web -o comm
DOCKER top web -ef | head -1 | tr -s ' '
DOCKER top web -nonsense
DOCKER wait gone created nonsense 2>/dev/null
DOCKER wait gone gone
DOCKER rename web gone
DOCKER rename web web
DOCKER rename web a/b
DOCKER rename web ''
DOCKER rename gone o2 x
DOCKER diff
DOCKER diff gone web
DOCKER update --cpus 0.5 web gone
DOCKER update --cpu-shares 512 -m 100m --memory-swap 200m web; DOCKER inspect -f '{{.HostConfig.CpuShares}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}}' web
DOCKER update --cpus 1 --cpu-quota 5 web
DOCKER update -m 300m web
DOCKER update --memory 20m --memory-swap 10m web
DOCKER update --restart on-failure:3 created; DOCKER inspect -f '{{json .HostConfig.RestartPolicy}}' created
DOCKER update --restart always:3 created
DOCKER update --restart nonsense created
DOCKER update --pids-limit 20 web; DOCKER inspect -f '{{.HostConfig.PidsLimit}}' web
DOCKER update --cpuset-cpus 0 web; DOCKER inspect -f '{{.HostConfig.CpusetCpus}}' web
DOCKER update --cpuset-cpus 99 web
DOCKER update
DOCKER stats --no-stream --format '{{.Name}} {{.ID}} {{.Container}}' web
DOCKER stats --no-stream nonsense
DOCKER stats --no-stream gone | tr -s ' '
DOCKER exec web
DOCKER exec web sh -c 'exit 300'
DOCKER exec -e A=b -e C web env | grep -E '^(A|C)='
DOCKER exec -w /nonexistent web pwd >/dev/null 2>&1
DOCKER exec -u nobody web id
DOCKER exec -u 99999 web id
DOCKER exec -u nonsense web id >/dev/null 2>&1
DOCKER exec -t web tty
DOCKER exec -d web nonsense
DOCKER exec created true
DOCKER exec --env-file /nonexistent web true
DOCKER logs --tail 0 logger
DOCKER logs --tail -1 logger 2>/dev/null
DOCKER logs --tail all logger 2>/dev/null
DOCKER logs --since 2030-01-01 logger
DOCKER logs --since 2020-01-01T00:00:00 --until 2020-01-02 logger
DOCKER logs --since 1.5h logger 2>/dev/null
DOCKER logs --since 1577836800.5 logger 2>/dev/null
DOCKER logs --until nonsense logger
DOCKER logs created
DOCKER logs -f created
DOCKER logs logger created
DOCKER run --name lab --log-opt labels=color --log-opt env=A -l color=red -e A=b busybox echo hi; DOCKER logs --details lab; DOCKER rm lab
DOCKER run --name nolog --log-driver none busybox echo hi; DOCKER logs nolog 2>/dev/null; DOCKER rm nolog
DOCKER run --rm --log-opt nonsense=1 busybox echo hi
DOCKER run --rm --log-opt max-size=x busybox echo hi
DOCKER run --rm --log-opt max-file=0 busybox echo hi
DOCKER run --rm --log-opt max-file=3 busybox echo hi
DOCKER cp gone:/nonsense /tmp
DOCKER cp gone:/etc/passwd /nonexistent/dir/x
DOCKER cp gone:/etc/passwd /nonexistent/
rm -rf /tmp/se; mkdir /tmp/se; DOCKER cp gone:/etc /tmp/se && ls /tmp/se
rm -rf /tmp/se; DOCKER cp gone:/etc/. /tmp/se && ls /tmp/se | grep -v -e host -e resolv -e mtab
DOCKER cp /etc/hostname created:/h && DOCKER cp created:/h - | tar tv | awk '{print $1,$NF}'
DOCKER cp /etc/nonsense created:/h
DOCKER cp /etc/hostname created:/nonsense/h
DOCKER cp /etc/hostname created:/nonsense/
DOCKER cp /etc/apt created:/h
DOCKER cp - created:/
DOCKER cp - -
DOCKER cp gone:/new created:/x
DOCKER cp a b
DOCKER cp gone:/new
tar c -C /etc hostname | DOCKER cp - created:/tmp && DOCKER cp created:/tmp/hostname - | tar t
tar c -C /etc hostname | DOCKER cp - created:/nonsense
echo garbage | DOCKER cp - created:/tmp
rm -rf /tmp/ln; mkdir /tmp/ln; echo t >/tmp/ln/t; ln -s t /tmp/ln/l; DOCKER cp /tmp/ln/l created:/l1; DOCKER cp -L /tmp/ln/l created:/l2; DOCKER cp created:/l1 - | tar tv | awk '{print substr($1,1,1), $6, $7, $8}'; DOCKER cp created:/l2 - | tar tv | awk '{print substr($1,1,1), $6}'
rm -rf /tmp/lo; DOCKER cp created:/l1 /tmp/lo; ls -l /tmp/lo | cut -c1; rm -rf /tmp/lo; DOCKER cp -L created:/bin/sh /tmp/lo; ls -l /tmp/lo | cut -c1
DOCKER cp -a created:/h /tmp/side-a && stat -c '%u %a' /tmp/side-a
DOCKER cp web:/data /tmp/side-data && ls -d /tmp/side-data
DOCKER kill -s nonsense web
DOCKER kill
DOCKER stop -t x web
DOCKER stop web nonsense gone; DOCKER start web
DOCKER start nonsense web
DOCKER restart nonsense
DOCKER restart -t 0 web nonsense
DOCKER pause web web; DOCKER unpause web
DOCKER pause gone
DOCKER rm web
DOCKER rm -f nonsense
DOCKER attach --no-stdin gone
DOCKER attach a b
DOCKER commit web BAD
DOCKER commit -c 'NONSENSE x' web x:z
DOCKER system prune -f --filter nonsense=1
DOCKER container prune -f --filter until=1h
DOCKER container prune -f --filter nonsense=1
DOCKER container prune -f --filter until=nonsense
DOCKER network prune -f --filter until=1h
DOCKER run --rm --network container:web -h x busybox true
DOCKER run --rm --network container:web --dns 1.1.1.1 busybox true
DOCKER run --rm --network container:web --add-host a:1.1.1.1 busybox true
DOCKER run --rm --network container:web --expose 80 busybox true
DOCKER run --rm --network host --dns 1.1.1.1 busybox true
DOCKER create --name created busybox true
DOCKER create --name a/b busybox true
DOCKER create --nonsense busybox true
DOCKER start created; DOCKER wait created
DOCKER create --name bad busybox nonsense; DOCKER start bad; DOCKER start -a bad; echo $?; DOCKER ps -a -f name=bad --format '{{.State}} {{.Status}}'; DOCKER inspect -f '{{.State.ExitCode}} {{.State.StartedAt}} {{.State.FinishedAt}}' bad; DOCKER wait bad; DOCKER rm bad
DOCKER create --name bad -p 18080:80 busybox true; DOCKER start bad; echo $?; DOCKER inspect -f '{{.State.Status}} {{.State.ExitCode}}' bad; DOCKER rm bad
DOCKER events --since 1h --until 0s --format '{{.Nonsense}}'
DOCKER events --since 1h --until 0s -f daemon=x
DOCKER events --since 1h --until 0s -f scope=swarm
sleep 1.1; S=$(date +%s); DOCKER run --rm --network none busybox true;  DOCKER run --rm --network host busybox true; sleep 1.2; DOCKER events --since $S --until 0s -f type=network --format '{{.Action}} {{.Actor.Attributes.type}}'
DOCKER events --since 1h --until 0s -f container=web -f event=start --format json | tr ',{' '\n\n' | cut -d: -f1 | sort -u
DOCKER run --rm -v /etc/hostname:/f:ro busybox sh -c 'test -f /f && echo file; echo x >>/f'
DOCKER run --rm --mount type=tmpfs,dst=/t,tmpfs-mode=0700,tmpfs-size=1m busybox sh -c 'stat -c %a /t; grep " /t " /proc/mounts'
DOCKER run --rm --tmpfs /t:rw,size=787448k,mode=1777 busybox grep ' /t ' /proc/mounts
DOCKER run --rm --mount type=bind,src=/tmp,dst=/t,bind-recursive=nonsense busybox true
DOCKER run --rm --mount type=volume,dst=/t,bind-propagation=rslave busybox true
DOCKER run --rm --mount type=bind,dst=/t busybox true
DOCKER run --rm --mount type=tmpfs,src=x,dst=/t busybox true
DOCKER run --rm --volumes-from web:ro busybox touch /data/f
DOCKER run --rm --device /dev/zero:/dev/xz:r busybox sh -c 'head -c1 /dev/xz | wc -c; echo a >/dev/xz'
DOCKER run --rm --device /dev/zero:/dev/xz:nonsense busybox true
DOCKER run --rm --ulimit nofile=1024:2048 busybox sh -c 'ulimit -Sn; ulimit -Hn'
DOCKER run --rm --user 1000:50 --group-add 60 --group-add mail busybox id
DOCKER run --rm --cap-drop ALL busybox grep CapEff /proc/self/status
DOCKER run --rm --security-opt nonsense busybox true
DOCKER run --rm --memory 64m --memory-swap 32m busybox true
DOCKER run --rm --memory-swap 64m busybox true
DOCKER run --rm -p 80:80:80:80 busybox true
DOCKER run --rm -p 8000-8001:80 busybox true
DOCKER run --rm -a stdout busybox sh -c 'echo o; echo e >&2'
DOCKER run --rm -h myhost --domainname d.e busybox sh -c 'hostname; hostname -f'
DOCKER run -it --rm busybox true
DOCKER save nonsense
DOCKER load -i /etc/passwd
DOCKER export -o /nonexistent/x web
DOCKER container ls -aq | wc -l
DOCKER container stats nonsense --no-stream
DOCKER run --name fails busybox nonsense 2>/dev/null; DOCKER ps -a -f name=fails --format '{{.Names}} {{.State}}'; DOCKER rm fails 2>/dev/null; true
DOCKER version --format '{{.Client.Os}} {{.Server.Os}} {{.Server.Arch}} {{.Client.Context}}'
DOCKER info --format '{{.OSType}} {{.Driver}} {{.LoggingDriver}} {{.CgroupDriver}} {{.Swarm.LocalNodeState}} {{.IndexServerAddress}} {{.MemoryLimit}} {{.SwapLimit}} {{.PidsLimit}} {{.CPUCfsQuota}} {{.CPUShares}} {{.CPUSet}} {{.OomKillDisable}} {{.IPv4Forwarding}} {{.KernelVersion}} {{.NCPU}} {{.MemTotal}} {{.OperatingSystem}} {{.Architecture}}'
`
