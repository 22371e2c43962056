package why

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/mydocker/mydocker/world"
)

// findLinks finds links of the name, in all namespaces; NAMESPACE:LINK means one.
func findLinks(_ context.Context, q *Question) (answers []Answer, err error) {
	m := newMakers()
	space, name, given := strings.Cut(q.Thing, ":")
	if !given {
		space, name = "", q.Thing
	}
	if i := strings.IndexByte(name, '@'); i > 0 {
		name = name[:i] // as ip shows it: eth0@if4
	}
	for _, n := range q.World.Namespaces {
		if l := n.Link(name); l != nil && (space == "" || q.means(n, space)) {
			answers = append(answers, q.link(m, l))
		}
	}
	return answers, nil
}

func (q *Question) link(m *makers, l *world.Link) Answer {
	a := Answer{Kind: KindLink, Name: l.Name + " (" + l.Kind + ")", Where: l.Namespace.Name(), Look: inNamespace(l.Namespace, "ip -d addr show "+l.Name)}
	if !a.ours(l.Owner) {
		maker, evidence := q.linkMaker(m, l)
		a.other(maker, evidence)
	} else {
		a.Evidence = append(a.Evidence, q.record(l))
	}
	a.Purpose = q.linkPurpose(l)
	return a
}

// record is the file that speaks of a link.
func (q *Question) record(l *world.Link) string {
	for _, e := range q.World.Endpoints {
		if e.HostLink == l.Name && l.Namespace == q.World.Host || e.ContainerID == l.Owner.ID && e.Interface == l.Name {
			return q.Texts.Text("why.evidence.record", "path", q.World.Root.Run+"/endpoints/"+e.NetworkID+"/"+e.ContainerID+".json")
		}
	}
	return q.Texts.Text("why.evidence.record", "path", q.World.Root.Lib+"/networks/"+l.Owner.ID+".json")
}

// linkMaker tells who made a link that no record speaks of.
func (q *Question) linkMaker(m *makers, l *world.Link) (Maker, string) {
	named := func(maker Maker, name string) (Maker, string) {
		return maker, q.Texts.Text("why.evidence.name", "name", name, "maker", maker.text(q.Texts))
	}
	if l.Loopback {
		return Maker{"kernel"}, q.Texts.Text("why.evidence.loopback")
	}
	if maker, ok := m.links.find(l.Name); ok {
		return named(maker, l.Name)
	}
	if l.Kind == "device" && l.Namespace == q.World.Host {
		if target, err := os.Readlink("/sys/class/net/" + l.Name + "/device"); err == nil {
			return Maker{"kernel"}, q.Texts.Text("why.evidence.hardware", "path", target)
		}
	}
	// A cable belongs to whoever made the bridge that it is plugged into, or the namespace that it leads to.
	for _, near := range []*world.Link{l, l.Peer} {
		if near == nil {
			continue
		}
		if near.Master != nil {
			if maker, ok := m.links.find(near.Master.Name); ok {
				return maker, q.Texts.Text("why.evidence.port", "bridge", near.Master.Name)
			}
			if near.Master.Owner.Ours() { // plugged into our bridge by hand
				continue
			}
		}
		if maker, evidence, ok := q.namespaceMaker(m, near.Namespace); ok && near.Namespace != q.World.Host {
			return maker, evidence
		}
	}
	return Maker{"hand"}, q.Texts.Text("why.evidence.nothing")
}

// linkPurpose says what a link does, from what hangs together with it.
func (q *Question) linkPurpose(l *world.Link) (list []string) {
	t := q.Texts
	switch {
	case l.Loopback:
		list = append(list, t.Text("why.purpose.loopback"))
	case l.Kind == "bridge":
		list = append(list, t.Text("why.purpose.bridge", "ports", len(l.Ports())))
		for _, six := range []bool{false, true} {
			if a := l.Address(six); a.IsValid() {
				list = append(list, t.Text("why.purpose.gateway", "address", a))
			}
		}
	case l.Kind == "veth" && l.Peer != nil:
		list = append(list, t.Text("why.purpose.veth", "peer", l.Peer.Name, "place", place(l.Peer.Namespace.Name(), t)))
	case l.Kind == "veth":
		list = append(list, t.Text("why.purpose.veth-lost"))
	case l.Peer != nil:
		list = append(list, t.Text("why.purpose.upon", "kind", l.Kind, "peer", l.Peer.Name, "place", place(l.Peer.Namespace.Name(), t)))
	case l.Kind == "device":
		list = append(list, t.Text("why.purpose.device"))
	default:
		list = append(list, t.Text("why.purpose.kind", "kind", l.Kind))
	}
	if l.Master != nil {
		list = append(list, t.Text("why.purpose.port", "bridge", l.Master.Name))
	}
	for _, six := range []bool{false, true} {
		if a := l.Address(six); a.IsValid() && l.Kind != "bridge" && !l.Loopback {
			list = append(list, t.Text("why.purpose.address", "address", a))
		}
	}
	if !l.Up {
		list = append(list, t.Text("why.purpose.down"))
	}
	return list
}

// inNamespace is a command that is to be given in a namespace.
func inNamespace(n *world.Namespace, command string) string {
	if n.Name() == "host" {
		return command
	}
	if strings.HasPrefix(n.Path, "/run/netns/") {
		if rest, ok := strings.CutPrefix(command, "ip "); ok {
			return "ip -n " + strings.TrimPrefix(n.Path, "/run/netns/") + " " + rest
		}
		return "ip netns exec " + strings.TrimPrefix(n.Path, "/run/netns/") + " " + command
	}
	return fmt.Sprintf("nsenter --net=%s %s", n.Path, command)
}
