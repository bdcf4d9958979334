package dataset

import (
	"fmt"
	"os"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
)

// The tree file holds the levels from the one under the root downwards, each from place 0 on, 32 bytes big endian a node, in
// sealed blocks. The three children of a node lie together and in one block. The root is in the manifest.
const (
	treeName      = "tree"
	groupSize     = 3 * fr.Bytes // the children of one node
	groupsInBlock = 42           // 4,032 bytes
)

// levelStart is the number of nodes in the file before level 1..depth+1.
func levelStart(level int) int { return int(powers[level]-1)/2 - 1 }

// writeTree writes the levels below the root.
func writeTree(folder string, c blockContext, l levels, step stepper) (fileSum, error) {
	w, err := createBlocks(folder, c, step)
	if err != nil {
		return fileSum{}, err
	}
	for _, nodes := range l[1:] {
		for i := range nodes {
			b := nodes[i].Bytes()
			if err := w.write(b[:]); err != nil {
				w.out.f.Close()
				return fileSum{}, err
			}
		}
	}
	return w.close()
}

// A treeFile reads stored levels.
type treeFile struct {
	blockReader
	depth int
}

func newTreeFile(c blockContext, f *os.File, depth int) *treeFile {
	return &treeFile{blockReader{blockContext: c, f: f, total: int64(levelStart(depth+1)) * fr.Bytes}, depth}
}

// children returns the three children of a node; level 0 is the root.
func (t *treeFile) children(level int, node uint64) (child [3]fr.Element, err error) {
	group := (levelStart(level+1) + 3*int(node)) / 3
	b, err := t.block(group / groupsInBlock)
	if err != nil {
		return child, err
	}
	b = b[group%groupsInBlock*groupSize:]
	for i := range child {
		if err := child[i].SetBytesCanonical(b[i*fr.Bytes : (i+1)*fr.Bytes]); err != nil {
			return child, fmt.Errorf("%w: a node outside the field", ErrCorrupt)
		}
	}
	return child, nil
}

// openAbove fills in the siblings of an opening from a cell up to the root.
func (t *treeFile) openAbove(o *circuits.Opening, cell uint64) error {
	node := cell
	for level := t.depth - 1; level >= 0; level-- {
		child, err := t.children(level, node/3)
		if err != nil {
			return err
		}
		s := &o.Siblings[circuits.Levels-1-level]
		switch node % 3 {
		case 0:
			*s = [2]fr.Element{child[1], child[2]}
		case 1:
			*s = [2]fr.Element{child[0], child[2]}
		default:
			*s = [2]fr.Element{child[0], child[1]}
		}
		node /= 3
	}
	return nil
}

// load reads all levels; root is the one of the manifest.
func (t *treeFile) load(root fr.Element) (levels, error) {
	l := make(levels, t.depth+1)
	l[0] = []fr.Element{root}
	for j := 1; j <= t.depth; j++ {
		l[j] = make([]fr.Element, powers[j])
	}
	level, at := 1, 0
	for n := range t.blocks() {
		b, err := t.block(n)
		if err != nil {
			return nil, err
		}
		for ; len(b) > 0; b = b[fr.Bytes:] {
			if at == len(l[level]) {
				level, at = level+1, 0
			}
			if err := l[level][at].SetBytesCanonical(b[:fr.Bytes]); err != nil {
				return nil, fmt.Errorf("%w: a node outside the field", ErrCorrupt)
			}
			at++
		}
	}
	return l, nil
}
