package entry

import (
	"fmt"
	"slices"
)

// GroupDefine says who belongs to a group of requesters. An agreement whose terms name the group holds for its members as the newest
// version lists them; it stands on the holder's log, so that the holder alone decides who they are.
type GroupDefine struct {
	Group     string     `json:"group"`
	Version   int        `json:"version"` // grows strictly within the group
	Members   []string   `json:"members"` // member names, ascending; none: nobody asks as of this group any more
	Time      string     `json:"time"`
	Approvals []Approval `json:"approvals,omitempty"`
}

// Has reports whether a member belongs to the group.
func (e GroupDefine) Has(member string) bool {
	_, ok := slices.BinarySearch(e.Members, member)
	return ok
}

func (c *checker) group(e GroupDefine) {
	c.name("group", e.Group)
	c.version("version", e.Version)
	if len(e.Members) > MaxGroup {
		c.fail("members", fmt.Sprintf("must be at most %d", MaxGroup))
		return
	}
	if e.Members == nil {
		c.fail("members", "must be a list")
	}
	for i, m := range e.Members {
		c.member("members", m)
		if i > 0 && e.Members[i-1] >= m {
			c.fail("members", "must be distinct and in ascending order")
		}
	}
	c.time("time", e.Time)
	c.approvals(e.Approvals)
}
