package engine

import (
	"reflect"
	"strings"
	"testing"
)

func TestLinkIsWhatDockerWrites(t *testing.T) {
	l := link{alias: "db-1", address: "172.17.0.2", d: &Definition{
		ID: "18722c02cb87" + strings.Repeat("0", 52), Name: "mysql",
		Options: CreateOptions{Expose: []string{"3306/tcp", "33060/tcp"}, Env: []string{"MYSQL_USER=wp", "PATH=/bin", "HOME=/"}},
	}}
	if got, want := l.hostsLine(), "172.17.0.2\tdb-1 18722c02cb87 mysql"; got != want {
		t.Errorf("hosts line %q, want %q", got, want)
	}
	want := []string{
		"DB_1_NAME=/wordpress/db-1", "DB_1_PORT=tcp://172.17.0.2:3306",
		"DB_1_PORT_3306_TCP=tcp://172.17.0.2:3306", "DB_1_PORT_3306_TCP_ADDR=172.17.0.2", "DB_1_PORT_3306_TCP_PORT=3306", "DB_1_PORT_3306_TCP_PROTO=tcp",
		"DB_1_PORT_33060_TCP=tcp://172.17.0.2:33060", "DB_1_PORT_33060_TCP_ADDR=172.17.0.2", "DB_1_PORT_33060_TCP_PORT=33060", "DB_1_PORT_33060_TCP_PROTO=tcp",
		"DB_1_ENV_MYSQL_USER=wp",
	}
	if got := l.env("wordpress"); !reflect.DeepEqual(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	l.alias = l.d.Name
	if got, want := l.hostsLine(), "172.17.0.2\tmysql 18722c02cb87"; got != want {
		t.Errorf("hosts line %q, want %q", got, want)
	}
}
