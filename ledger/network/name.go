package network

import (
	"strconv"
	"strings"

	"github.com/grille-gateway/grille/ledger/entry"
)

// LogName returns the origin of one generation of a member's log, from 1: INSTANCE/MEMBER/log/GENERATION. It is the name
// of that log's key.
func LogName(instance, member string, generation int) string {
	return keyName(instance, member, "log", generation)
}

// MirrorName returns the name of one generation of the key that a member cosigns with: INSTANCE/MEMBER/mirror/GENERATION.
func MirrorName(instance, member string, generation int) string {
	return keyName(instance, member, "mirror", generation)
}

func keyName(instance, member, role string, generation int) string {
	return instance + "/" + member + "/" + role + "/" + strconv.Itoa(generation)
}

// KeyName returns the name in a signed-note verifier key: what stands before the first plus sign.
func KeyName(vkey string) string {
	name, _, _ := strings.Cut(vkey, "+")
	return name
}

// Origin returns the origin of the member's log: the name of its log key.
func (m Member) Origin() string { return KeyName(m.LogKey) }

// MirrorName returns the name that the member cosigns under: the name of its mirror key.
func (m Member) MirrorName() string { return KeyName(m.MirrorKey) }

// Generation returns the generation at the end of the name of a log or mirror key, or 0 if there is none.
func Generation(name string) int {
	g, err := strconv.Atoi(name[strings.LastIndexByte(name, '/')+1:])
	if err != nil || g < 1 {
		return 0
	}
	return g
}

// parseName takes a key's name apart, if it is one of this instance and role in its one spelling.
func parseName(name, instance, role string) (member string, generation int, ok bool) {
	rest, ok := strings.CutPrefix(name, instance+"/")
	if !ok {
		return "", 0, false
	}
	i := strings.LastIndexByte(rest, '/')
	if i < 0 {
		return "", 0, false
	}
	member, ok = strings.CutSuffix(rest[:i], "/"+role)
	generation, err := strconv.Atoi(rest[i+1:])
	if !ok || err != nil || generation < 1 || generation > MaxGeneration || !entry.MemberName(member) {
		return "", 0, false
	}
	return member, generation, keyName(instance, member, role, generation) == name
}

// generation returns the generation in a key's name, or 0 if it is not such a name.
func generation(name, instance, role string) int {
	_, g, _ := parseName(name, instance, role)
	return g
}
