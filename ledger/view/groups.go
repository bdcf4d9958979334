package view

import (
	"slices"

	"github.com/grille-gateway/grille/ledger/entry"
)

// Group returns the newest version of a group and its index.
func (v *View) Group(name string) (entry.GroupDefine, uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	return v.log.groups[name].newest(v.size)
}

// Groups returns the names of all groups, ascending.
func (v *View) Groups() []string {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	var out []string
	for name, f := range v.log.groups {
		if f.below(v.size) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
