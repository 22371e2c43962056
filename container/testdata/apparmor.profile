# What apparmor.bin was compiled from: apparmor_parser -S -K -Q apparmor.profile > apparmor.bin
abi <abi/3.0>,
profile mydocker-test flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  mount,
  signal,
  ptrace,
  unix,
  deny /etc/secret rw,
}
