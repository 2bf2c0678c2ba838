// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"iter"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// A plan encodes the identity and the tags of items with the same attribute keys in the same order. All tags are encoded this way.
// Decisions that depend on the keys alone are made when the plan is compiled; those that also depend on scope and resource, when it is
// bound to a scope.
type plan struct {
	// own is the key of a tag that only the envelopes set, such as le, never an attribute; often nil.
	own        *cleanKey
	attributes []planAttribute
	tagKeys    keySet
	tags       []planTag
	// For logs: the keys of the attributes with the source type and the process type; empty if there is none.
	typeKey, processKey string
	ioStream            bool // reports whether log.iostream is one of the attributes
	// The ranks of the first attributes that can be the IDs; see idFinder.firstOf.
	sourceRank, instanceRank int

	// scope is the number of the scope that the plan is bound to; 0 if none.
	scope int
	// identified reports whether an attribute affects the identity. If not, head is the encoded identity.
	identified bool
	head       []byte
	// inherited holds the encoded tags of scope and resource. Those before others have the exporter's own keys; see inheritedOwn.
	inherited    []byte
	inheritedOwn []ownTag
	others       int
	// parts are all tags of a point, including inherited ones, sorted by key. Only plans of metrics have them.
	parts []part
	// keys are the exporter's own keys among the tags.
	keys ownKeys
	// truncated reports whether an inherited tag was truncated.
	truncated bool
	// tooLarge reports whether the inherited tags fit in no envelope, even if truncated.
	tooLarge bool
	// For logs: the encoded tag source_type of items whose attributes do not determine it.
	sourceType          []byte
	sourceTypeTruncated bool
	usesProcess         bool // reports whether the attribute processKey determines it
}

// planAttribute is an attribute. tag is the encoded key of its tag, or nil if it becomes no tag or is joined.
type planAttribute struct {
	key string
	tag []byte
	own ownKeys
}

// planTag is a tag and the attribute with its value, or the attributes whose values are joined, in this order.
type planTag struct {
	*cleanKey
	attribute int
	joined    []int
}

// ownTag is an inherited tag with one of the exporter's own keys.
type ownTag struct {
	own        ownKeys
	begin, end int // in plan.inherited
	truncated  bool
}

// part is a piece of the encoded tags of a point: the tag of an attribute, of joined attributes or of the instance ID, or constant tags.
type part struct {
	attribute  int
	begin, end int    // in plan.inherited, of a constantPart
	tag        []byte // the encoded key of an attribute or a joinedPart
	joined     []int  // the attributes whose values are joined
}

// Values of part.attribute that are not an index.
const (
	constantPart = -1 // tags that are the same for all items
	instancePart = -2 // the tag with the instance ID, if attributes affect the identity
	joinedPart   = -3
)

// The cache holds at most cachedPlans plans, each of at most cachedPlanAttributes attributes with keys of at most cachedKeyBytes. Once
// their inherited tags take more than cachedPlanBytes, it starts over.
const (
	cachedPlans          = 64
	cachedPlanBytes      = 1 << 20
	cachedPlanAttributes = 128
)

// plans caches plans across batches. They hold copies of the tags that they last inherited, but no strings of the data.
type plans struct {
	cached   []*plan
	replaced int   // the index of the plan replaced last
	bytes    int   // of the inherited tags of cached
	last     *plan // the plan used last
	uncached plan  // the current plan that is not in cached
}

// place returns the memory for a new plan of these attributes.
func (p *plans) place(attrs pcommon.Map) *plan {
	cacheable := attrs.Len() <= cachedPlanAttributes
	for key := range attrs.All() {
		cacheable = cacheable && len(key) <= cachedKeyBytes
	}
	switch {
	case !cacheable:
		return &p.uncached
	case len(p.cached) < cachedPlans:
		p.cached = append(p.cached, &plan{})
		return p.cached[len(p.cached)-1]
	}
	p.replaced = (p.replaced + 1) % cachedPlans
	return p.cached[p.replaced]
}

// plan finds or compiles the plan of these attributes.
func (t *translator) plan(attrs pcommon.Map, own *cleanKey) *plan {
	for _, p := range t.plans.cached {
		if len(p.attributes) == attrs.Len() && p.own == own && p.matches(attrs) {
			return p
		}
	}
	p := t.plans.place(attrs)
	t.compile(p, attrs, own)
	return p
}

// appendItem appends the tags and the identity of an item; see appendTags.
func (t *translator) appendItem(b []byte, attrs pcommon.Map, own *cleanKey, skip ownKeys) ([]byte, *plan) {
	b, p := t.appendTags(b, attrs, own, skip)
	if p.identified {
		return t.id.append(b), p
	}
	return append(b, p.head...), p
}

// appendTags finds the identity of an item with these attributes and appends its tags, except those in skip, which the item sets itself.
// own selects the plan; see plan.own.
func (t *translator) appendTags(b []byte, attrs pcommon.Map, own *cleanKey, skip ownKeys) ([]byte, *plan) {
	// Try the last plan before comparing keys: running it compares them too.
	if p := t.plans.last; p != nil && p.scope == t.scope && p.own == own && len(p.attributes) == attrs.Len() {
		if encoded, ok := t.run(b, p, attrs, skip); ok {
			return encoded, p
		}
	}
	p := t.plan(attrs, own)
	if p.scope != t.scope {
		t.bind(p)
	}
	t.plans.last, t.tooLarge = p, p.tooLarge
	b, _ = t.run(b, p, attrs, skip)
	return b, p
}

// matches reports whether attrs has the keys of the plan. It must have as many.
func (p *plan) matches(attrs pcommon.Map) bool {
	i := 0
	for key := range attrs.All() {
		if p.attributes[i].key != key {
			return false
		}
		i++
	}
	return true
}

// run finds the identity and appends the tags of an item. If the item's keys are not the plan's, it returns b unchanged and false.
func (t *translator) run(b []byte, p *plan, attrs pcommon.Map, skip ownKeys) ([]byte, bool) {
	if p.tooLarge {
		return b, p.matches(attrs)
	}
	if t.sorted {
		return t.runSorted(b, p, attrs)
	}
	t.identify(p, attrs)
	begin, truncated, i := len(b), t.truncated, 0
	for key, value := range attrs.All() {
		a := &p.attributes[i]
		if a.key != key {
			t.truncated = truncated
			return b[:begin], false
		}
		switch {
		case a.tag == nil || a.own&skip != 0:
		case value.Type() == pcommon.ValueTypeStr: // appendTag does the same, but is not inlined.
			b = envelope.AppendTag(b, a.tag, value.Str())
		default:
			b = t.appendTag(b, a.tag, value)
		}
		i++
	}
	b = append(b, p.inherited[p.others:]...)
	for i := range p.inheritedOwn {
		if tag := &p.inheritedOwn[i]; tag.own&skip == 0 {
			b = append(b, p.inherited[tag.begin:tag.end]...)
			t.truncated = t.truncated || tag.truncated
		}
	}
	t.truncated = t.truncated || p.truncated
	return b, true
}

// runSorted is run for points. It sorts tags by key, so that equal tags have equal encodings.
func (t *translator) runSorted(b []byte, p *plan, attrs pcommon.Map) ([]byte, bool) {
	t.values = t.values[:0]
	for key, value := range attrs.All() {
		if p.attributes[len(t.values)].key != key {
			return b, false
		}
		t.values = append(t.values, value)
	}
	t.identify(p, attrs)
	for i := range p.parts {
		part := &p.parts[i]
		switch part.attribute {
		case constantPart:
			b = append(b, p.inherited[part.begin:part.end]...)
		case instancePart:
			if t.id.instance != "" {
				b = envelope.AppendTag(b, instanceIDTagKey.encoded, t.id.instance)
			}
		case joinedPart:
			joined, truncated := joinedString(t.values, part.joined)
			b = envelope.AppendTag(b, part.tag, joined)
			t.truncated = t.truncated || truncated
		default:
			b = t.appendTag(b, part.tag, t.values[part.attribute])
		}
	}
	t.truncated = t.truncated || p.truncated
	return b, true
}

// identify finds the identity of an item, if its attributes affect it.
func (t *translator) identify(p *plan, attrs pcommon.Map) {
	if p.identified {
		t.id = t.identity.find(attrs)
	}
}

func (t *translator) appendTag(b, key []byte, value pcommon.Value) []byte {
	switch value.Type() {
	case pcommon.ValueTypeStr:
		return envelope.AppendTag(b, key, value.Str())
	case pcommon.ValueTypeInt:
		return envelope.AppendIntTag(b, key, value.Int())
	}
	return envelope.AppendTag(b, key, t.text(value))
}

// compile makes p the plan of these attributes. Of attributes with the same tag key, the first in byte order wins; for labels, their values
// are joined with ";" in that order, as OpenTelemetry's Prometheus compatibility specification requires. If an attribute occurs twice,
// which is invalid, its first value wins. An attribute with the key own gets the prefix exported_.
func (t *translator) compile(p *plan, attrs pcommon.Map, own *cleanKey) {
	p.tagKeys.reset()
	p.own, p.attributes, p.tags = own, p.attributes[:0], p.tags[:0]
	p.typeKey, p.processKey, p.ioStream, p.scope = "", "", false, 0
	p.sourceRank, p.instanceRank = t.identity.source.firstOf(attrs), t.identity.instance.firstOf(attrs)
	for key := range attrs.All() {
		clean := t.keys.clean(key)
		i := len(p.attributes)
		p.attributes = append(p.attributes, planAttribute{key: clean.attribute})
		p.ioStream = p.ioStream || key == ioStreamKey
		if !clean.isTag {
			continue
		}
		if own != nil && clean.key == own.key {
			clean = newTagKey(exportedPrefix + own.key)
		}
		at := p.tagKeys.find(clean.key)
		if at < 0 {
			p.tagKeys.append(clean.key)
			p.tags = append(p.tags, planTag{cleanKey: clean, attribute: i})
			continue
		}
		tag := &p.tags[at]
		switch {
		case t.keys.labels:
			if tag.joined == nil {
				tag.joined = []int{tag.attribute}
			}
			tag.joined = append(tag.joined, i)
		case key < p.attributes[tag.attribute].key:
			tag.attribute = i
		}
	}
	for i := range p.tags {
		tag := &p.tags[i]
		if tag.joined == nil {
			a := &p.attributes[tag.attribute]
			a.tag, a.own = tag.encoded, tag.own
		} else {
			slices.SortStableFunc(tag.joined, func(i, j int) int { return strings.Compare(p.attributes[i].key, p.attributes[j].key) })
			tag.joined = slices.CompactFunc(tag.joined, func(i, j int) bool { return p.attributes[i].key == p.attributes[j].key })
		}
		switch tag.own {
		case sourceTypeName.set():
			p.typeKey = p.attributes[tag.attribute].key
		case processTypeName.set():
			p.processKey = p.attributes[tag.attribute].key
		}
	}
}

// bind binds a plan to the current scope.
func (t *translator) bind(p *plan) {
	if p != &t.plans.uncached {
		if t.plans.bytes > cachedPlanBytes {
			t.plans.cached, t.plans.bytes = []*plan{p}, cap(p.inherited)
		}
		defer func(before int) { t.plans.bytes += cap(p.inherited) - before }(cap(p.inherited))
	}
	p.scope, p.keys, p.truncated, p.tooLarge = t.scope, 0, false, false
	p.inherited, p.inheritedOwn, p.parts = p.inherited[:0], p.inheritedOwn[:0], p.parts[:0]
	for i := range p.attributes {
		p.keys |= p.attributes[i].own
	}
	p.identified = p.sourceRank <= t.identity.source.rank || p.instanceRank <= t.identity.instance.rank
	p.head = t.identity.inherited().append(p.head[:0])
	sourceType, processType := t.opts.SourceType, ""
	hasType := p.typeKey != ""
	t.inherited.reset()
	for tag := range t.inheritedTags(p) {
		if t.sorted || tag.own == 0 {
			t.inherited.append(tag)
			p.truncated = p.truncated || tag.truncated
			continue
		}
		p.keys |= tag.own
		switch tag.own {
		case sourceTypeName.set():
			sourceType, hasType = tag.value, true
		case processTypeName.set():
			processType = tag.value
		}
		begin := len(p.inherited)
		p.inherited = envelope.AppendTag(p.inherited, tag.encoded, prefix(tag.value, envelope.MaxSize))
		p.inheritedOwn = append(p.inheritedOwn, ownTag{tag.own, begin, len(p.inherited), tag.truncated})
	}
	// Inherited tags that alone do not fit in an envelope are truncated here, once. The result is the same as per item, because an item's
	// own tags only leave less room.
	if !t.inherited.fits(maxLength, envelope.MaxSize, t.opts.SyslogSafe) {
		p.truncated = true
		p.tooLarge = !t.inherited.truncate(envelope.MaxSize, t.opts.SyslogSafe)
	}
	if p.tooLarge {
		return
	}
	if t.sorted {
		t.sort(p)
		return
	}
	p.others = len(p.inherited)
	for i := range t.inherited.tags {
		p.inherited = envelope.AppendTag(p.inherited, t.inherited.tags[i].encoded, t.inherited.tags[i].value)
	}
	p.usesProcess = !hasType && p.processKey != ""
	if !hasType && processType != "" {
		sourceType = processSourceType(processType)
	}
	sourceType, p.sourceTypeTruncated = cleanSourceType(sourceType, t.opts.SyslogSafe)
	p.sourceType = envelope.AppendTag(p.sourceType[:0], encodedNames[sourceTypeName], sourceType)
}

// inheritedTags yields the tags of scope and resource that no attribute of the plan replaces.
func (t *translator) inheritedTags(p *plan) iter.Seq[tag] {
	return func(yield func(tag) bool) {
		own, exported := "", ""
		if p.own != nil && t.base.has(p.own.key) {
			own, exported = p.own.key, exportedPrefix+p.own.key
		}
		for i := range t.base.tags {
			tag := t.base.tags[i]
			switch {
			case own == "":
			case tag.key == exported:
				continue // It is joined to the tag with the key own.
			case tag.key == own:
				tag.cleanKey = newTagKey(exported)
				if i := t.base.find(exported); i >= 0 {
					tag.value = t.base.tags[i].value + ";" + tag.value
					tag.truncated = tag.truncated || t.base.tags[i].truncated
				}
			}
			if p.tagKeys.find(tag.key) < 0 && !yield(tag) {
				return
			}
		}
	}
}

// keyedPart is a part with the key of its tag and, for a constant, the value.
type keyedPart struct {
	*cleanKey
	value string
	part  part
}

// sort sets the parts of p: the tags of points, including the instance ID, sorted by key.
func (t *translator) sort(p *plan) {
	parts := t.parts[:0]
	for i := range p.tags {
		tag := &p.tags[i]
		attribute := tag.attribute
		if tag.joined != nil {
			attribute = joinedPart
		}
		parts = append(parts, keyedPart{cleanKey: tag.cleanKey, part: part{attribute: attribute, tag: tag.encoded, joined: tag.joined}})
	}
	for i := range t.inherited.tags {
		tag := &t.inherited.tags[i]
		parts = append(parts, keyedPart{cleanKey: tag.cleanKey, value: tag.value, part: part{attribute: constantPart}})
	}
	if instance := t.identity.instance.inherited; p.identified {
		parts = append(parts, keyedPart{cleanKey: instanceIDTagKey, part: part{attribute: instancePart}})
	} else if instance != "" {
		parts = append(parts, keyedPart{cleanKey: instanceIDTagKey, value: instance, part: part{attribute: constantPart}})
	}
	slices.SortFunc(parts, func(a, b keyedPart) int { return strings.Compare(a.key, b.key) })
	for _, keyed := range parts {
		if keyed.part.attribute != constantPart {
			p.parts = append(p.parts, keyed.part)
			continue
		}
		begin := len(p.inherited)
		p.inherited = envelope.AppendTag(p.inherited, keyed.encoded, keyed.value)
		if n := len(p.parts); n > 0 && p.parts[n-1].attribute == constantPart {
			p.parts[n-1].end = len(p.inherited)
		} else {
			p.parts = append(p.parts, part{attribute: constantPart, begin: begin, end: len(p.inherited)})
		}
	}
	clear(parts) // They hold strings of the data.
	t.parts = parts
}
