-- What opening a net-mesh packet takes, in plain Lua, because Wireshark gives its scripts no ciphers: AES-256-GCM and
-- ChaCha20-Poly1305 (wire.md 3, extensions X6), and keyed BLAKE2s for the keys of later epochs.
-- Bytes are Lua strings. Runs on Lua 5.1 to 5.4. netmesh.lua loads it; loaded alone it does nothing.

local floor, byte, char, concat = math.floor, string.byte, string.char, table.concat

local bits = bit32 or bit or load([[return {
    band = function(a, b) return a & b end, bor = function(a, b) return a | b end,
    bxor = function(a, b) return a ~ b end, lshift = function(a, n) return (a << n) & 0xffffffff end,
    rshift = function(a, n) return (a & 0xffffffff) >> n end }]])()
local band, bor, bxor, lshift, rshift = bits.band, bits.bor, bits.bxor, bits.lshift, bits.rshift
local TWO32 = 4294967296

local function rotate(x, n) return bor(lshift(x, n), rshift(x, 32 - n)) end
local function sum(a, b) return (a + b) % TWO32 end

local function load_le(s, at)
    local a, b, c, d = byte(s, at, at + 3)
    return a + b * 256 + c * 65536 + d * 16777216
end

local function load_be(s, at)
    local a, b, c, d = byte(s, at, at + 3)
    return d + c * 256 + b * 65536 + a * 16777216
end

local function store_le(x)
    x = x % TWO32
    return char(x % 256, floor(x / 256) % 256, floor(x / 65536) % 256, floor(x / 16777216))
end

local function store_be(x)
    x = x % TWO32
    return char(floor(x / 16777216), floor(x / 65536) % 256, floor(x / 256) % 256, x % 256)
end

-- The two strings' bytes against each other; `stream` may be longer.
local function xor_bytes(text, stream)
    local out = {}
    for at = 1, #text, 4 do
        if at + 3 <= #text then
            out[#out + 1] = store_be(bxor(load_be(text, at), load_be(stream, at)))
        else
            for i = at, #text do out[#out + 1] = char(bxor(byte(text, i), byte(stream, i))) end
        end
    end
    return concat(out)
end

local function padding(s) return string.rep("\0", -#s % 16) end

---- ChaCha20-Poly1305, RFC 8439

local function quarter(x, a, b, c, d)
    x[a] = sum(x[a], x[b]) x[d] = rotate(bxor(x[d], x[a]), 16)
    x[c] = sum(x[c], x[d]) x[b] = rotate(bxor(x[b], x[c]), 12)
    x[a] = sum(x[a], x[b]) x[d] = rotate(bxor(x[d], x[a]), 8)
    x[c] = sum(x[c], x[d]) x[b] = rotate(bxor(x[b], x[c]), 7)
end

local function chacha_block(key, nonce, counter)
    local from = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 }
    for i = 0, 7 do from[5 + i] = load_le(key, 1 + 4 * i) end
    from[13] = counter
    for i = 0, 2 do from[14 + i] = load_le(nonce, 1 + 4 * i) end
    local x, out = {}, {}
    for i = 1, 16 do x[i] = from[i] end
    for _ = 1, 10 do
        quarter(x, 1, 5, 9, 13) quarter(x, 2, 6, 10, 14) quarter(x, 3, 7, 11, 15) quarter(x, 4, 8, 12, 16)
        quarter(x, 1, 6, 11, 16) quarter(x, 2, 7, 12, 13) quarter(x, 3, 8, 9, 14) quarter(x, 4, 5, 10, 15)
    end
    for i = 1, 16 do out[i] = store_le(sum(x[i], from[i])) end
    return concat(out)
end

-- 130-bit numbers are six limbs of 22 bits: sums of products stay below 2^53. 2^132 is 20 modulo 2^130 - 5.
local LIMB = 4194304

local function limbs(s, at, high)
    local a, b, c, d = load_le(s, at), load_le(s, at + 4), load_le(s, at + 8), load_le(s, at + 12)
    return { a % LIMB, floor(a / LIMB) + b % 4096 * 1024, floor(b / 4096) + c % 4 * 1048576, floor(c / 4) % LIMB,
        floor(c / 16777216) + d % 16384 * 256, floor(d / 16384) + high * 262144 }
end

local function carry(h)
    for i = 1, 6 do
        local over = floor(h[i] / LIMB)
        h[i] = h[i] - over * LIMB
        if i < 6 then h[i + 1] = h[i + 1] + over else h[1] = h[1] + over * 20 end
    end
end

local function poly_multiply(h, r)
    local out = {}
    for i = 1, 6 do
        local total = 0
        for j = 1, 6 do
            local k = i - j + 1
            total = total + (k >= 1 and h[j] * r[k] or 20 * h[j] * r[k + 6])
        end
        out[i] = total
    end
    carry(out)
    carry(out)
    return out
end

-- h modulo 2^130 - 5, plus the second half of the key, modulo 2^128.
local function poly_finish(h, key)
    carry(h)
    local top = floor(h[6] / 1048576) -- what lies above 2^130
    h[6] = h[6] % 1048576
    h[1] = h[1] + 5 * top
    for i = 1, 5 do
        local over = floor(h[i] / LIMB)
        h[i] = h[i] - over * LIMB
        h[i + 1] = h[i + 1] + over
    end
    local g, over = {}, 5
    for i = 1, 6 do
        g[i] = h[i] + over
        over = floor(g[i] / LIMB)
        g[i] = g[i] % LIMB
    end
    if g[6] >= 1048576 then -- h + 5 reached 2^130: h was at least the modulus
        g[6] = g[6] - 1048576
        h = g
    end
    local words = { h[1] + h[2] % 1024 * LIMB, floor(h[2] / 1024) + h[3] % 1048576 * 4096,
        floor(h[3] / 1048576) + h[4] * 4 + h[5] % 256 * 16777216, floor(h[5] / 256) + h[6] % 262144 * 16384 }
    local out, over2 = {}, 0
    for i = 1, 4 do
        local t = words[i] + load_le(key, 13 + 4 * i) + over2
        over2 = floor(t / TWO32)
        out[i] = store_le(t)
    end
    return concat(out)
end

local function poly1305(key, message) -- the message's length is a multiple of 16, as the AEAD makes it
    local clamped = {}
    for i = 1, 16 do
        local b = byte(key, i)
        if i % 4 == 0 then b = b % 16 elseif i % 4 == 1 and i > 1 then b = b - b % 4 end
        clamped[i] = char(b)
    end
    local r, h = limbs(concat(clamped), 1, 0), { 0, 0, 0, 0, 0, 0 }
    for at = 1, #message, 16 do
        local block = limbs(message, at, 1)
        for i = 1, 6 do h[i] = h[i] + block[i] end
        h = poly_multiply(h, r)
    end
    return poly_finish(h, key)
end

local function chacha_open(key, nonce, aad, text, tag)
    local mac = poly1305(chacha_block(key, nonce, 0), aad .. padding(aad) .. text .. padding(text) ..
        store_le(#aad) .. store_le(0) .. store_le(#text) .. store_le(0))
    if mac ~= tag then return nil end
    local stream = {}
    for i = 1, floor((#text + 63) / 64) do stream[i] = chacha_block(key, nonce, i) end
    return xor_bytes(text, concat(stream))
end

---- AES-256-GCM, FIPS 197 and NIST SP 800-38D

local sbox, rounds = {}, {} -- rounds[x]: S-box and MixColumns of one byte, as a column

local function make_tables()
    local p, q = 1, 1
    repeat
        p = bxor(bxor(p, band(lshift(p, 1), 255)), p >= 128 and 0x1b or 0)
        for _, n in ipairs({ 1, 2, 4 }) do q = band(bxor(q, lshift(q, n)), 255) end
        if q >= 128 then q = bxor(q, 9) end
        local function turn(n) return band(bor(lshift(q, n), rshift(q, 8 - n)), 255) end
        sbox[p] = bxor(bxor(bxor(bxor(bxor(q, turn(1)), turn(2)), turn(3)), turn(4)), 0x63)
    until p == 1
    sbox[0] = 0x63
    for x = 0, 255 do
        local s = sbox[x]
        local double = s * 2
        if double > 255 then double = bxor(double, 0x11b) end
        rounds[x] = double * 16777216 + s * 65536 + s * 256 + bxor(double, s)
    end
end
make_tables()

local function sub_word(w)
    return sbox[rshift(w, 24)] * 16777216 + sbox[band(rshift(w, 16), 255)] * 65536 +
        sbox[band(rshift(w, 8), 255)] * 256 + sbox[band(w, 255)]
end

local function aes_expand(key)
    local w, rcon = {}, 1
    for i = 0, 7 do w[i] = load_be(key, 1 + 4 * i) end
    for i = 8, 59 do
        local t = w[i - 1]
        if i % 8 == 0 then
            t = bxor(sub_word(rotate(t, 8)), rcon * 16777216)
            rcon = rcon * 2
        elseif i % 8 == 4 then
            t = sub_word(t)
        end
        w[i] = bxor(w[i - 8], t)
    end
    return w
end

local function column(a, b, c, d)
    return bxor(bxor(rounds[rshift(a, 24)], rotate(rounds[band(rshift(b, 16), 255)], 24)),
        bxor(rotate(rounds[band(rshift(c, 8), 255)], 16), rotate(rounds[band(d, 255)], 8)))
end

local function last_column(a, b, c, d)
    return sbox[rshift(a, 24)] * 16777216 + sbox[band(rshift(b, 16), 255)] * 65536 +
        sbox[band(rshift(c, 8), 255)] * 256 + sbox[band(d, 255)]
end

local function aes_block(w, a, b, c, d)
    a, b, c, d = bxor(a, w[0]), bxor(b, w[1]), bxor(c, w[2]), bxor(d, w[3])
    for i = 4, 52, 4 do
        a, b, c, d = bxor(column(a, b, c, d), w[i]), bxor(column(b, c, d, a), w[i + 1]),
            bxor(column(c, d, a, b), w[i + 2]), bxor(column(d, a, b, c), w[i + 3])
    end
    return bxor(last_column(a, b, c, d), w[56]), bxor(last_column(b, c, d, a), w[57]),
        bxor(last_column(c, d, a, b), w[58]), bxor(last_column(d, a, b, c), w[59])
end

-- GHASH by fours of bits: 16 multiples of H, and what four bits that fall off the end stand for.
local function ghash_table(a, b, c, d)
    local m = { [0] = { 0, 0, 0, 0 }, [8] = { a, b, c, d } }
    local i = 4
    while i > 0 do
        local fell = band(d, 1)
        d = bor(rshift(d, 1), lshift(band(c, 1), 31))
        c = bor(rshift(c, 1), lshift(band(b, 1), 31))
        b = bor(rshift(b, 1), lshift(band(a, 1), 31))
        a = bxor(rshift(a, 1), fell == 1 and 0xe1000000 or 0)
        m[i] = { a, b, c, d }
        i = floor(i / 2)
    end
    for _, high in ipairs({ 2, 4, 8 }) do
        for low = 1, high - 1 do
            local x, y = m[high], m[low]
            m[high + low] = { bxor(x[1], y[1]), bxor(x[2], y[2]), bxor(x[3], y[3]), bxor(x[4], y[4]) }
        end
    end
    return m
end

local fallen = {}
for i = 0, 15 do
    local x = 0
    for k = 0, 3 do if band(i, lshift(1, k)) ~= 0 then x = bxor(x, lshift(0x1c20, k)) end end
    fallen[i] = x * 65536
end

local function ghash(m, data)
    local a, b, c, d = 0, 0, 0, 0
    for at = 1, #data, 16 do
        local block = { bxor(a, load_be(data, at)), bxor(b, load_be(data, at + 4)), bxor(c, load_be(data, at + 8)),
            bxor(d, load_be(data, at + 12)) }
        a, b, c, d = 0, 0, 0, 0
        for word = 4, 1, -1 do
            for shift = 0, 28, 4 do
                local fell = fallen[band(d, 15)]
                local x = m[band(rshift(block[word], shift), 15)]
                d = bxor(bor(rshift(d, 4), lshift(band(c, 15), 28)), x[4])
                c = bxor(bor(rshift(c, 4), lshift(band(b, 15), 28)), x[3])
                b = bxor(bor(rshift(b, 4), lshift(band(a, 15), 28)), x[2])
                a = bxor(bxor(rshift(a, 4), fell), x[1])
            end
        end
    end
    return store_be(a) .. store_be(b) .. store_be(c) .. store_be(d)
end

-- Expanding a key costs as much as a small packet: keep what was expanded last.
local expanded, expanded_count = {}, 0

local function gcm_key(key)
    local k = expanded[key]
    if not k then
        if expanded_count >= 64 then expanded, expanded_count = {}, 0 end
        local w = aes_expand(key)
        k = { w = w, m = ghash_table(aes_block(w, 0, 0, 0, 0)) }
        expanded[key], expanded_count = k, expanded_count + 1
    end
    return k
end

local function gcm_open(key, nonce, aad, text, tag)
    local k = gcm_key(key)
    local a, b, c = load_be(nonce, 1), load_be(nonce, 5), load_be(nonce, 9)
    local function stream(counter)
        local p, q, r, s = aes_block(k.w, a, b, c, counter)
        return store_be(p) .. store_be(q) .. store_be(r) .. store_be(s)
    end
    local hash = ghash(k.m, aad .. padding(aad) .. text .. padding(text) ..
        store_be(0) .. store_be(#aad * 8) .. store_be(0) .. store_be(#text * 8))
    if xor_bytes(hash, stream(1)) ~= tag then return nil end
    local blocks = {}
    for i = 1, floor((#text + 15) / 16) do blocks[i] = stream(i + 1) end
    return xor_bytes(text, concat(blocks))
end

---- keyed BLAKE2s-256, RFC 7693

local IV = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 }
local SIGMA = {
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 }, { 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
    { 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 }, { 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
    { 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 }, { 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
    { 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 }, { 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
    { 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 }, { 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 } }
local MIXES = { { 1, 5, 9, 13 }, { 2, 6, 10, 14 }, { 3, 7, 11, 15 }, { 4, 8, 12, 16 }, { 1, 6, 11, 16 },
    { 2, 7, 12, 13 }, { 3, 8, 9, 14 }, { 4, 5, 10, 15 } }

local function blake_compress(h, block, length, last)
    local v, m = {}, {}
    for i = 1, 8 do v[i], v[i + 8] = h[i], IV[i] end
    for i = 0, 15 do m[i] = load_le(block, 1 + 4 * i) end
    v[13] = bxor(v[13], length)
    if last then v[15] = bxor(v[15], 0xffffffff) end
    for r = 1, 10 do
        for i, mix in ipairs(MIXES) do
            local a, b, c, d = mix[1], mix[2], mix[3], mix[4]
            v[a] = sum(sum(v[a], v[b]), m[SIGMA[r][2 * i - 1]]) v[d] = rotate(bxor(v[d], v[a]), 16)
            v[c] = sum(v[c], v[d]) v[b] = rotate(bxor(v[b], v[c]), 20)
            v[a] = sum(sum(v[a], v[b]), m[SIGMA[r][2 * i]]) v[d] = rotate(bxor(v[d], v[a]), 24)
            v[c] = sum(v[c], v[d]) v[b] = rotate(bxor(v[b], v[c]), 25)
        end
    end
    for i = 1, 8 do h[i] = bxor(bxor(h[i], v[i]), v[i + 8]) end
end

local function blake2s(key, data)
    local h, out = {}, {}
    for i = 1, 8 do h[i] = IV[i] end
    h[1] = bxor(h[1], 0x01010020 + #key * 256)
    if #key > 0 then data = key .. string.rep("\0", 64 - #key) .. data end
    local at = 1
    while #data - at + 1 > 64 do
        blake_compress(h, data:sub(at, at + 63), at + 63, false)
        at = at + 64
    end
    blake_compress(h, data:sub(at) .. string.rep("\0", 64 - (#data - at + 1)), #data, true)
    for i = 1, 8 do out[i] = store_le(h[i]) end
    return concat(out)
end

return {
    -- The plaintext, or nil when the tag is wrong. Key 32 bytes, nonce 12, tag 16.
    open = { ["aes-256-gcm"] = gcm_open, ["chacha20-poly1305"] = chacha_open },
    blake2s = blake2s, -- (key of up to 32 bytes, data): 32 bytes
    store_le = store_le,
}
