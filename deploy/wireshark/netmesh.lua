-- net-mesh for Wireshark and tshark: every kind of datagram (wire.md 1, extensions X0-X6), and with a key log
-- (security.key_log in node.yaml) what the packets carry. README.md beside this file says how to install it.

local here = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or ""
local crypto = dofile(here .. "netmesh_crypto.lua")

local HEADER, TAG, ROUTE, KEEPALIVE, PINGWAVE, MAX_PAYLOAD, EPHEMERAL = 64, 16, 18, 14, 72, 8112, 32
local MAX_EPOCHS = 4096 -- 2^36 packets; deriving the key of one more costs as much as a hash
local HANDSHAKE, HEARTBEAT = 0x10, 0x20

local netmesh = Proto("netmesh", "net-mesh")
netmesh.prefs.port = Pref.uint("UDP port", 20037, "Port of nodes; others are found by what their datagrams look like")
netmesh.prefs.key_log = Pref.string("Key log", "", "File that security.key_log of node.yaml names, or a copy of it")

---- fields

local subprotocols = {
    [0x0000] = "events", [0x0400] = "causal events", [0x0401] = "state snapshots", [0x0500] = "daemon migration",
    [0x0600] = "negotiation", [0x0700] = "continuity", [0x0701] = "fork announcement", [0x0702] = "continuity proof",
    [0x0800] = "partition", [0x0801] = "reconcile", [0x0900] = "replica group", [0x0A00] = "membership",
    [0x0A01] = "follow", [0x0A02] = "followed",
    [0x0A11] = "append", [0x0A12] = "append answer",
    [0x0B00] = "credit", [0x0B01] = "acknowledgement", [0x0B02] = "stream control", [0x0C00] = "capabilities", [0x0D00] = "NAT reflex", [0x0D01] = "NAT rendezvous",
    [0x0E00] = "RedEX replication", [0x0F00] = "MeshDB" }
local healths = { [0] = "healthy", [1] = "degraded", [2] = "unhealthy", [3] = "unknown" }
local membership_types = { [0] = "Subscribe", [1] = "Unsubscribe", [2] = "Ack" }
local reasons = { [0] = "none", [1] = "unauthorized", [2] = "unknown channel", [3] = "rate limited",
    [4] = "too many channels" }

local reset_codes = { [0] = "ended", [1] = "unknown subprotocol", [2] = "limit", [3] = "id in use" }
local FRAME_ACK = 2 -- of the fragmentation flags: the first event frame is an acknowledgement

local f = {
    kind = ProtoField.string("netmesh.kind", "Kind"),
    magic = ProtoField.uint16("netmesh.magic", "Magic", base.HEX),
    version = ProtoField.uint8("netmesh.version", "Version"),
    flags = ProtoField.uint8("netmesh.flags", "Flags", base.HEX),
    reliable = ProtoField.bool("netmesh.flags.reliable", "Reliable", 8, nil, 0x01),
    nack = ProtoField.bool("netmesh.flags.nack", "NACK", 8, nil, 0x02),
    urgent = ProtoField.bool("netmesh.flags.priority", "Priority", 8, nil, 0x04),
    fin = ProtoField.bool("netmesh.flags.fin", "FIN", 8, nil, 0x08),
    is_handshake = ProtoField.bool("netmesh.flags.handshake", "Handshake", 8, nil, HANDSHAKE),
    is_heartbeat = ProtoField.bool("netmesh.flags.heartbeat", "Heartbeat", 8, nil, HEARTBEAT),
    priority = ProtoField.uint8("netmesh.priority", "Priority"),
    hop_ttl = ProtoField.uint8("netmesh.hop_ttl", "Hop TTL"),
    hop_count = ProtoField.uint8("netmesh.hop_count", "Hop count"),
    frag_flags = ProtoField.uint8("netmesh.frag_flags", "Fragment flags", base.HEX),
    subprotocol = ProtoField.uint16("netmesh.subprotocol", "Subprotocol", base.HEX, subprotocols),
    channel_hash = ProtoField.uint16("netmesh.channel_hash", "Channel hash", base.HEX),
    nonce_prefix = ProtoField.bytes("netmesh.nonce_prefix", "Nonce prefix"),
    counter = ProtoField.uint64("netmesh.counter", "Counter"),
    session = ProtoField.uint64("netmesh.session_id", "Session id", base.HEX),
    stream = ProtoField.uint64("netmesh.stream_id", "Stream id", base.HEX),
    sequence = ProtoField.uint64("netmesh.sequence", "Sequence"),
    subnet = ProtoField.uint32("netmesh.subnet_id", "Subnet id", base.HEX),
    origin = ProtoField.uint32("netmesh.origin_hash", "Origin hash", base.HEX),
    fragment_id = ProtoField.uint16("netmesh.fragment_id", "Fragment id"),
    fragment_offset = ProtoField.uint16("netmesh.fragment_offset", "Fragment offset"),
    payload_len = ProtoField.uint16("netmesh.payload_len", "Payload length"),
    event_count = ProtoField.uint16("netmesh.event_count", "Event count"),
    gate = ProtoField.bytes("netmesh.handshake.gate", "Gate"),
    message = ProtoField.uint8("netmesh.handshake.message", "Message"),
    ephemeral = ProtoField.bytes("netmesh.handshake.ephemeral", "Ephemeral public key"),
    offer = ProtoField.bytes("netmesh.handshake.payload", "Encrypted payload and tag"),
    ciphertext = ProtoField.bytes("netmesh.ciphertext", "Ciphertext"),
    tag = ProtoField.bytes("netmesh.tag", "Authentication tag"),
    cipher = ProtoField.string("netmesh.cipher", "Cipher"),
    epoch = ProtoField.uint32("netmesh.epoch", "Key epoch"),
    from = ProtoField.string("netmesh.from", "From node"),
    to = ProtoField.string("netmesh.to", "To node"),
    event = ProtoField.bytes("netmesh.event", "Event"),
    event_len = ProtoField.uint32("netmesh.event.len", "Length"),
    event_text = ProtoField.string("netmesh.event.text", "Text"),
    credit_stream = ProtoField.uint64("netmesh.credit.stream_id", "Stream id", base.HEX),
    credit_total = ProtoField.uint64("netmesh.credit.total", "Total consumed"),
    ack_largest = ProtoField.uint64("netmesh.ack.largest", "Largest packet counter"),
    ack_delay = ProtoField.uint32("netmesh.ack.delay_us", "Delay (us)"),
    ack_range = ProtoField.string("netmesh.ack.range", "Range"),
    reset_stream = ProtoField.uint64("netmesh.reset.stream_id", "Stream id", base.HEX),
    reset_code = ProtoField.uint32("netmesh.reset.code", "Code", base.DEC, reset_codes),
    member_type = ProtoField.uint8("netmesh.membership.type", "Type", base.DEC, membership_types),
    member_nonce = ProtoField.uint64("netmesh.membership.nonce", "Nonce", base.HEX),
    member_channel = ProtoField.string("netmesh.membership.channel", "Channel"),
    member_token = ProtoField.bytes("netmesh.membership.token", "Token"),
    member_group = ProtoField.string("netmesh.membership.queue_group", "Queue group"),
    member_accepted = ProtoField.bool("netmesh.membership.accepted", "Accepted"),
    member_reason = ProtoField.uint8("netmesh.membership.reason", "Reason", base.DEC, reasons),
    route_ttl = ProtoField.uint8("netmesh.route.ttl", "TTL"),
    route_hops = ProtoField.uint8("netmesh.route.hop_count", "Hop count"),
    route_flags = ProtoField.uint8("netmesh.route.flags", "Flags", base.HEX),
    route_src = ProtoField.uint32("netmesh.route.src_id", "Source (low half of the node id)", base.HEX),
    route_dest = ProtoField.uint64("netmesh.route.dest_id", "Destination", base.HEX),
    ping_origin = ProtoField.uint64("netmesh.pingwave.origin", "Origin", base.HEX),
    ping_seq = ProtoField.uint64("netmesh.pingwave.seq", "Sequence"),
    ping_ttl = ProtoField.uint8("netmesh.pingwave.ttl", "TTL"),
    ping_hops = ProtoField.uint8("netmesh.pingwave.hop_count", "Hop count"),
    ping_time = ProtoField.uint64("netmesh.pingwave.timestamp_us", "Origin timestamp (us)"),
    ping_caps = ProtoField.uint64("netmesh.pingwave.capability_hash", "Capability hash", base.HEX),
    ping_version = ProtoField.uint32("netmesh.pingwave.capability_version", "Capability version"),
    ping_load = ProtoField.uint8("netmesh.pingwave.load_level", "Load level"),
    ping_health = ProtoField.uint8("netmesh.pingwave.health", "Health", base.DEC, healths),
    ping_primary = ProtoField.bytes("netmesh.pingwave.primary_caps", "Primary capabilities"),
    punch_node = ProtoField.uint64("netmesh.keepalive.node_id", "Sender", base.HEX),
    punch_id = ProtoField.uint32("netmesh.keepalive.punch_id", "Punch id", base.HEX),
}
netmesh.fields = f

local expert_short = ProtoExpert.new("netmesh.short", "Shorter than its header says", expert.group.MALFORMED,
    expert.severity.WARN)
local expert_long = ProtoExpert.new("netmesh.trailing", "Bytes behind the packet", expert.group.MALFORMED,
    expert.severity.WARN)
local expert_encrypted = ProtoExpert.new("netmesh.encrypted", "Encrypted, and the key log has no key of this session",
    expert.group.DECRYPTION, expert.severity.CHAT)
local expert_auth = ProtoExpert.new("netmesh.auth_failed", "No key of this session opens the packet: damaged, or forged",
    expert.group.DECRYPTION, expert.severity.WARN)
local expert_frames = ProtoExpert.new("netmesh.frames", "An event runs past the end of the packet",
    expert.group.MALFORMED, expert.severity.WARN)
netmesh.experts = { expert_short, expert_long, expert_encrypted, expert_auth, expert_frames }

---- keys

local sessions = {} -- by the eight bytes of the id as on the wire: a list of keys (a v0.19 session has two)
local log_size, log_looked_at = -1, 0

local function from_hex(text)
    return (text:gsub("..", function(two) return string.char(tonumber(two, 16)) end))
end

local function add_key(line)
    local id, from, to, cipher, epochs, key =
        line:match("^NETMESH_SESSION id=0x(%x+) from=0x(%x+) to=0x(%x+) cipher=([%w-]+) epochs=(%a+) key=(%x+)%s*$")
    if not id or #id ~= 16 or #key ~= 64 or not crypto.open[cipher] then return end
    local wire = from_hex(id):reverse()
    local list = sessions[wire] or {}
    for _, known in ipairs(list) do if known.hex == key:lower() then return end end
    list[#list + 1] = { hex = key:lower(), keys = { [0] = from_hex(key) }, last = 0, cipher = cipher,
        epochs = epochs == "yes", from = "0x" .. from, to = "0x" .. to }
    sessions[wire] = list
end

local function read_key_log()
    local file = netmesh.prefs.key_log ~= "" and io.open(netmesh.prefs.key_log, "r")
    if not file then return end
    local size = file:seek("end")
    if size ~= log_size then
        file:seek("set")
        for line in file:lines() do add_key(line) end
        log_size = size
    end
    file:close()
end

-- A capture that is under way meets sessions that the log did not have yet.
local function keys_of(id)
    if not sessions[id] and os.time() ~= log_looked_at then
        log_looked_at = os.time()
        read_key_log()
    end
    return sessions[id]
end

local function key_of_epoch(session, epoch)
    if not session.epochs then return session.keys[0], 0 end
    if epoch > MAX_EPOCHS then return nil end
    while session.last < epoch do
        local next_epoch = session.last + 1
        session.keys[next_epoch] = crypto.blake2s(session.keys[session.last],
            "net-mesh epoch" .. crypto.store_le(next_epoch) .. "\0\0\0\0")
        session.last = next_epoch
    end
    return session.keys[epoch], epoch
end

-- The bytes of the header decide everything: AAD, nonce (wire.md 3.2, 3.3) and epoch (X6).
local function open_packet(header, text, tag)
    local id = header:sub(25, 32)
    local list = keys_of(id)
    if not list then return nil end
    local prefix = {}
    local low, high = { id:byte(1, 4) }, { id:byte(5, 8) }
    for i = 1, 4 do -- exclusive or, by what Lua of every version has
        local x, value, bit = low[i] + 256 * high[i], 0, 1
        local a, b = x % 256, math.floor(x / 256)
        while a > 0 or b > 0 do
            if a % 2 ~= b % 2 then value = value + bit end
            a, b, bit = math.floor(a / 2), math.floor(b / 2), bit * 2
        end
        prefix[i] = string.char(value)
    end
    local nonce = table.concat(prefix) .. header:sub(17, 24)
    local aad = header:sub(1, 6) .. "\0" .. header:sub(8, 12) .. header:sub(25, 64)
    local c3, c4, c5, c6, c7 = header:byte(20, 24)
    local epoch = c3 + 256 * c4 + 65536 * c5 + 16777216 * (c6 + 256 * c7)
    for _, session in ipairs(list) do
        local key, used = key_of_epoch(session, epoch)
        local plain = key and crypto.open[session.cipher](key, nonce, aad, text, tag)
        if plain then return plain, session, used end
    end
    return nil, "failed"
end

---- what is inside

local function show_membership(tree, range)
    local len = range:len()
    if len < 9 then return nil end
    local kind = range(0, 1):uint()
    tree:add(f.member_type, range(0, 1))
    tree:add_le(f.member_nonce, range(1, 8))
    if kind == 2 and len >= 11 then
        tree:add(f.member_accepted, range(9, 1))
        tree:add(f.member_reason, range(10, 1))
        return range(9, 1):uint() == 1 and "Ack" or "Ack (refused)"
    end
    if kind > 1 or len < 10 or len < 10 + range(9, 1):uint() then return membership_types[kind] end
    local at = 10 + range(9, 1):uint()
    local name = at > 10 and range(10, at - 10):string() or ""
    if at > 10 then tree:add(f.member_channel, range(10, at - 10)) end
    if len >= at + 2 then
        local token = range(at, 2):le_uint()
        if token > 0 and len >= at + 2 + token then tree:add(f.member_token, range(at + 2, token)) end
        at = at + 2 + token
        if len >= at + 1 then
            local group = range(at, 1):uint()
            if group > 0 and len >= at + 1 + group then tree:add(f.member_group, range(at + 1, group)) end
        end
    end
    return membership_types[kind] .. " " .. name
end

local function show_credit(tree, range)
    if range:len() ~= 16 then return nil end
    tree:add_le(f.credit_stream, range(0, 8))
    tree:add_le(f.credit_total, range(8, 8))
    return "grant"
end

-- core/stream/ack.h: the largest, then how many below it and pairs of gap and length, each less one.
local function show_ack(tree, range)
    if range:len() < 20 or range:len() ~= 20 + 8 * range(12, 2):le_uint() then return nil end
    tree:add_le(f.ack_largest, range(0, 8))
    tree:add_le(f.ack_delay, range(8, 4))
    local last = range(0, 8):le_uint64()
    local first = last - range(16, 4):le_uint()
    tree:add(f.ack_range, range(16, 4), tostring(first) .. " to " .. tostring(last))
    for at = 20, range:len() - 8, 8 do
        last = first - range(at, 4):le_uint() - 2
        first = last - range(at + 4, 4):le_uint()
        tree:add(f.ack_range, range(at, 8), tostring(first) .. " to " .. tostring(last))
    end
    return "acknowledges up to " .. tostring(range(0, 8):le_uint64())
end

local function show_reset(tree, range)
    if range:len() ~= 16 then return nil end
    tree:add_le(f.reset_stream, range(0, 8))
    tree:add_le(f.reset_code, range(8, 4))
    return "reset"
end

local function show_event(tree, range)
    if not range:raw():find("[^\t\r\n\32-\126]") then tree:add(f.event_text, range) end
end

local shows = { [0x0000] = show_event, [0x0A00] = show_membership, [0x0B00] = show_credit,
    [0x0B01] = show_ack, [0x0B02] = show_reset }

-- wire.md 6.1: u32 length and bytes, `count` times; what does not fit ends it.
local function show_frames(tree, text, count, subprotocol, ack_first)
    local at, says = 0, nil
    for i = 1, count do
        local left = text:len() - at
        local len = left >= 4 and text(at, 4):le_uint() or left
        if len > left - 4 then
            tree:add_proto_expert_info(expert_frames)
            break
        end
        local item = len > 0 and tree:add(f.event, text(at + 4, len)) or tree:add(f.event_len, text(at, 4), 0)
        if len > 0 then
            item:add_le(f.event_len, text(at, 4))
            local show = i == 1 and ack_first and show_ack or shows[subprotocol]
            local said = show and show(item, text(at + 4, len))
            says = says or said
        end
        at = at + 4 + len
    end
    return says
end

---- the Net packet

local function hex_id(bytes)
    return "0x" .. (bytes:reverse():gsub(".", function(c) return string.format("%02x", c:byte()) end))
end

local function show_header(tree, range, handshake)
    local h = tree:add(range(0, HEADER), "Net header")
    h:add_le(f.magic, range(0, 2))
    h:add(f.version, range(2, 1))
    local flags = h:add(f.flags, range(3, 1))
    for _, flag in ipairs({ f.reliable, f.nack, f.urgent, f.fin, f.is_handshake, f.is_heartbeat }) do
        flags:add(flag, range(3, 1))
    end
    h:add(f.priority, range(4, 1))
    h:add(f.hop_ttl, range(5, 1))
    h:add(f.hop_count, range(6, 1))
    h:add(f.frag_flags, range(7, 1))
    h:add_le(f.subprotocol, range(8, 2))
    h:add_le(f.channel_hash, range(10, 2))
    h:add(f.nonce_prefix, range(12, 4))
    h:add_le(f.counter, range(16, 8))
    h:add_le(f.session, range(24, 8))
    if handshake then
        h:add(f.gate, range(32, 16)):append_text(range(32, 16):raw():find("[^%z]") and "" or " (none)")
    else
        h:add_le(f.stream, range(32, 8))
        h:add_le(f.sequence, range(40, 8))
    end
    h:add_le(f.subnet, range(48, 4))
    h:add_le(f.origin, range(52, 4))
    h:add_le(f.fragment_id, range(56, 2))
    h:add_le(f.fragment_offset, range(58, 2))
    h:add_le(f.payload_len, range(60, 2))
    h:add_le(f.event_count, range(62, 2))
end

-- Which of the two messages it is, the datagram does not say: the second is what comes back after a first.
local asked, answers = {}, {} -- by the two ends; by frame and offset

local function message_number(pinfo, at)
    local place = pinfo.number .. ":" .. at
    if not answers[place] then
        local there = tostring(pinfo.src) .. "|" .. pinfo.src_port .. "|" .. tostring(pinfo.dst) .. "|" .. pinfo.dst_port
        local back = tostring(pinfo.dst) .. "|" .. pinfo.dst_port .. "|" .. tostring(pinfo.src) .. "|" .. pinfo.src_port
        answers[place] = asked[back] and 2 or 1
        asked[back] = nil
        asked[there] = answers[place] == 1 or nil
    end
    return answers[place]
end

local function show_handshake(tree, area, pinfo, at)
    local n = message_number(pinfo, at)
    tree:add(f.message, area(0, 0), n):set_generated()
    if area:len() >= EPHEMERAL then tree:add(f.ephemeral, area(0, EPHEMERAL)) end
    if area:len() > EPHEMERAL then tree:add(f.offer, area(EPHEMERAL)) end
    return "Handshake message " .. n
end

local function show_data(tree, packet, text_len, heartbeat)
    local header, tag = packet(0, HEADER):raw(), packet(HEADER + text_len, TAG):raw()
    local text = text_len > 0 and packet(HEADER, text_len):raw() or ""
    local subprotocol, count = packet(8, 2):le_uint(), packet(62, 2):le_uint()
    if text_len > 0 then tree:add(f.ciphertext, packet(HEADER, text_len)) end
    tree:add(f.tag, packet(HEADER + text_len, TAG))
    local plain, session, epoch = open_packet(header, text, tag)
    local says
    if plain then
        tree:add(f.cipher, packet(HEADER + text_len, TAG), session.cipher):set_generated()
        tree:add(f.epoch, packet(16, 8), epoch):set_generated()
        tree:add(f.from, packet(24, 8), session.from):set_generated()
        tree:add(f.to, packet(24, 8), session.to):set_generated()
        if text_len > 0 then
            local opened = ByteArray.new(plain, true):tvb("Decrypted net-mesh packet")
            says = show_frames(tree:add(opened(), "Events"), opened(), count, subprotocol,
                math.floor(packet(7, 1):uint() / FRAME_ACK) % 2 == 1)
        end
    else
        tree:add_proto_expert_info(session and expert_auth or expert_encrypted)
    end
    if heartbeat then return "Heartbeat" end
    local name = subprotocols[subprotocol] or string.format("subprotocol 0x%04x", subprotocol)
    if subprotocol == 0 then name = count .. (count == 1 and " event" or " events") end
    return name .. (says and ": " .. says or "") .. (plain and "" or ", encrypted") ..
        ", stream " .. hex_id(header:sub(33, 40))
end

-- One Net packet at `at`; what it is, and where it ends. A handshake is as long as the datagram (wire.md 2.3).
local function show_packet(tvb, at, pinfo, tree)
    local left = tvb:len() - at
    local flags, payload = tvb(at + 3, 1):uint(), tvb(at + 60, 2):le_uint()
    local handshake, heartbeat = math.floor(flags / HANDSHAKE) % 2 == 1, math.floor(flags / HEARTBEAT) % 2 == 1
    show_header(tree, tvb(at, HEADER), handshake)
    if handshake then
        if left == HEADER then
            tree:add_proto_expert_info(expert_short)
            return "Handshake", at + left
        end
        return show_handshake(tree, tvb(at + HEADER), pinfo, at), at + left
    end
    local text_len = heartbeat and 0 or payload
    if left < HEADER + text_len + TAG then
        tree:add_proto_expert_info(expert_short)
        return heartbeat and "Heartbeat" or "Packet", at + left
    end
    return show_data(tree, tvb(at, HEADER + text_len + TAG), text_len, heartbeat), at + HEADER + text_len + TAG
end

---- datagrams

local function show_pingwave(tvb, tree)
    tree:add_le(f.ping_origin, tvb(0, 8))
    tree:add_le(f.ping_seq, tvb(32, 8))
    tree:add(f.ping_ttl, tvb(40, 1))
    tree:add(f.ping_hops, tvb(41, 1))
    tree:add_le(f.ping_time, tvb(42, 8))
    tree:add_le(f.ping_caps, tvb(50, 8))
    tree:add_le(f.ping_version, tvb(58, 4))
    tree:add(f.ping_load, tvb(62, 1))
    tree:add(f.ping_health, tvb(63, 1))
    tree:add(f.ping_primary, tvb(64, 8))
    return "Pingwave of " .. hex_id(tvb(0, 8):raw())
end

local function show_keepalive(tvb, tree)
    tree:add_le(f.magic, tvb(0, 2))
    tree:add_le(f.punch_node, tvb(2, 8))
    tree:add_le(f.punch_id, tvb(10, 4))
    return "Punch keep-alive"
end

local function show_route(tvb, at, tree)
    local r = tree:add(tvb(at, ROUTE), "Routing header")
    r:add_le(f.magic, tvb(at, 2))
    r:add(f.route_ttl, tvb(at + 2, 1))
    r:add(f.route_hops, tvb(at + 3, 1))
    r:add(f.route_flags, tvb(at + 4, 1))
    r:add_le(f.route_src, tvb(at + 6, 4))
    r:add_le(f.route_dest, tvb(at + 10, 8))
end

local function is_packet(tvb, at)
    return tvb:len() - at >= HEADER and tvb(at, 2):uint() == 0x454e and tvb(at + 2, 1):uint() == 1 and
        tvb(at + 60, 2):le_uint() <= MAX_PAYLOAD
end

-- wire.md 1.1, rules 2 to 8, of the bytes at `at`.
local function classify(tvb, at)
    local left = tvb:len() - at
    if left < 2 then return nil end
    local magic = tvb(at, 2):uint()
    if left == KEEPALIVE and magic == 0x5048 then return "keepalive" end
    if left == PINGWAVE and magic ~= 0x454e and tvb(at + 63, 1):uint() <= 3 then return "pingwave" end
    if magic == 0x5254 and is_packet(tvb, at + ROUTE) then return "routed" end
    if magic == 0x454e and is_packet(tvb, at) then return "direct" end
    return nil
end

local function show_one(tvb, at, pinfo, tree)
    local kind = classify(tvb, at)
    if not kind then return nil end
    tree:add(f.kind, tvb(at), kind):set_generated()
    if kind == "keepalive" then return show_keepalive(tvb, tree), tvb:len() end
    if kind == "pingwave" then return show_pingwave(tvb, tree), tvb:len() end
    if kind == "direct" then return show_packet(tvb, at, pinfo, tree) end
    show_route(tvb, at, tree)
    local says, next_at = show_packet(tvb, at + ROUTE, pinfo, tree)
    return says .. ", routed", next_at
end

function netmesh.dissector(tvb, pinfo, root)
    if not classify(tvb, 0) then return 0 end
    pinfo.cols.protocol = "NETMESH"
    local at, says = 0, {}
    -- The kernel hands a capture on its own machine several datagrams as one (GSO, GRO).
    while at < tvb:len() do
        local tree = root:add(netmesh, tvb(at))
        local said, next_at = show_one(tvb, at, pinfo, tree)
        if not said then
            tree:add_proto_expert_info(expert_long)
            break
        end
        tree:set_len(next_at - at)
        tree:append_text(", " .. said)
        says[#says + 1] = said
        at = next_at
    end
    pinfo.cols.info = table.concat(says, "; ", 1, math.min(#says, 4)) .. (#says > 4 and "; ... (" .. #says .. ")" or "")
    return tvb:len()
end

-- On ports that are nobody's: only what could hardly be anything else.
local function looks_like(tvb)
    local kind = classify(tvb, 0)
    if kind == "pingwave" then return not tvb(8, 24):raw():find("[^%z]") and tvb(41, 1):uint() <= 16 end
    if kind == "direct" or kind == "routed" then
        local at = kind == "routed" and ROUTE or 0
        local flags, left = tvb(at + 3, 1):uint(), tvb:len() - at - HEADER
        if flags >= 0x40 then return false end
        return math.floor(flags / HANDSHAKE) % 2 == 1 and left >= 48 or left >= TAG
    end
    return kind ~= nil
end

netmesh:register_heuristic("udp", function(tvb, pinfo, root)
    if not looks_like(tvb) then return false end
    netmesh.dissector(tvb, pinfo, root)
    return true
end)

function netmesh.init()
    sessions, asked, answers = {}, {}, {}
    log_size, log_looked_at = -1, 0
    read_key_log()
end

local registered
local function register_port()
    local ports = DissectorTable.get("udp.port")
    if registered == netmesh.prefs.port then return end
    if registered then ports:remove(registered, netmesh) end
    registered = netmesh.prefs.port
    if registered > 0 then ports:add(registered, netmesh) end
end

function netmesh.prefs_changed()
    register_port()
end
register_port()
