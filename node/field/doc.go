// Package field tests networks of real gateways under bad weather: each member is a process in a network namespace of its own, the
// namespaces hang on bridges, and between the members stand, where a test wants it, a relay that delays, loses, doubles and
// reorders datagrams by a seed (package relay). Links are cut, processes killed, clocks set wrong, members added and removed.
//
// There is nothing here but tests. They need Linux and root; NETNS=0 says that this machine has no namespaces, and then they say
// NOT RUN. docs/operations.md tells how to run them.
package field
