package sandbox

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func question(name string, kind dnsmessage.Type) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}}}
	data, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return data
}

func TestNameServer(t *testing.T) {
	for name, want := range map[string]string{"www.example.com.": webAddress, "WWW.Example.Com.": webAddress, "nobody.example.com.": ""} {
		reply, _ := resolve(question(name, dnsmessage.TypeA))
		var m dnsmessage.Message
		must(t, m.Unpack(reply))
		got := ""
		if len(m.Answers) == 1 {
			a := m.Answers[0].Body.(*dnsmessage.AResource).A
			got = fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3])
		}
		equal(t, name, got, want)
		equal(t, name+" known", m.RCode == dnsmessage.RCodeSuccess, want != "")
	}
	for kind, want := range map[dnsmessage.Type]string{dnsmessage.TypeAAAA: webAddress6, dnsmessage.TypeMX: ""} {
		reply, _ := resolve(question("www.example.com.", kind))
		var m dnsmessage.Message
		must(t, m.Unpack(reply))
		got := ""
		if len(m.Answers) == 1 {
			got = netip.AddrFrom16(m.Answers[0].Body.(*dnsmessage.AAAAResource).AAAA).String()
		}
		equal(t, kind.String(), fmt.Sprint(m.RCode, got), fmt.Sprint(dnsmessage.RCodeSuccess, want))
	}
}

func FuzzNameServer(f *testing.F) {
	f.Add(question("www.example.com.", dnsmessage.TypeA))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, query []byte) {
		if reply, _ := resolve(query); reply != nil {
			var m dnsmessage.Message
			if err := m.Unpack(reply); err != nil {
				t.Errorf("%x: %v", reply, err)
			}
		}
	})
}
