-- Recoverable channels (docs/redis.md, "Recoverable channels"). Before this stands a head that a node has written: the
-- name of the library, OPTIONS (by key prefix: which command publishes, and of each namespace the size of its histories
-- and how long they live), OPTIONS_TEXT (the same, for nodes to read), and FOLLOWS_REPLICATION.
--
-- The stream is the state. Its open epoch is the name of a consumer group in it, with the replication id under which it
-- was opened; its last id is where the channel stands, also when no entry is left. Nothing is half done: what can fail
-- is tried before the first write.

-- To be raised with every change; newer revisions must understand the arguments of older ones.
local REVISION = 1

-- How long an id is known: one that a publisher gave, and one that a node gave to be able to repeat itself. In
-- milliseconds.
local KNOWN = 300000
local KNOWN_ATTEMPT = 30000

-- After how many ids the oldest are looked at; then twice as many are forgotten, if they are old enough.
local FORGET_EACH = 16

-- The most headers, and the most bytes of their names and values together.
local MAX_HEADERS = 16
local MAX_HEADER_BYTES = 4096

-- What every number stays below.
local MAX_NUMBER = 9007199254740992

-- The envelope's magic and version, and its fields.
local HEAD = '\137ULLIM\r\n\1'
local KINDS = { json = '\129\0\1\1', text = '\129\0\1\2', binary = '\129\0\1\3' }

local ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

local function fail(message)
  error({ err = message })
end

local function text(number)
  return string.format('%.0f', number)
end

-- What the master was when it was last asked, and in which millisecond.
local asked_at, is_master, replication = -1, false, ''

-- The greatest epoch that was opened here.
local issued = 0

-- Milliseconds and microseconds. Fails if this is not the master.
local function now()
  local time = redis.call('TIME')
  local micros = time[1] * 1000000 + time[2]
  local millis = math.floor(micros / 1000)
  if millis ~= asked_at then
    local info = redis.call('INFO', 'replication')
    is_master = string.find(info, 'role:master', 1, true) ~= nil
    replication = string.match(info, 'master_replid:(%w+)') or ''
    asked_at = millis
  end
  if not is_master then
    fail('READONLY this is a replica')
  end
  return millis, micros
end

-- What holds for the channel of a key: its options, and those of its namespace.
local function rules(key)
  local prefix, first, colon = string.match(key, '^([^{}]+):{([^:{}]*)(:?)[^{}]*}$')
  if not prefix then
    fail('ERR the key must be <prefix>:{<channel>}, and is ' .. key)
  end
  local options = OPTIONS[prefix]
  if not options then
    fail('ULLIMPREFIX no node has said which channels with the prefix ' .. prefix .. ' are recoverable')
  end
  local namespace = colon == '' and 'default' or first
  local rule = options.namespaces[namespace]
  if not rule then
    fail('ERR the namespace ' .. namespace .. ' is not recoverable: use ' .. options.publish)
  end
  return options, rule
end

local function need(command, ...)
  if not redis.acl_check_cmd(command, ...) then
    fail('NOPERM this user may not use ' .. command .. ' on ' .. select(select('#', ...) > 1 and 2 or 1, ...))
  end
end

-- The epoch that is open, the replication id under which it was opened, and the last id that its group knows: the cut
-- while it has had no entry. Then the names of all groups that are ours; of no groups if there is no stream.
local function open_epoch(key)
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  if groups.err then
    if string.find(groups.err, 'no such key', 1, true) then
      return nil
    end
    need('xinfo', 'groups', key)
    error(groups)
  end
  local epoch, under, last
  local names = {}
  for i = 1, #groups do
    local name = groups[i][2]
    local digits, id = string.match(name, '^u:(%d+):(%w*)$')
    if digits then
      names[#names + 1] = name
      if not epoch or tonumber(digits) > tonumber(epoch) then
        epoch, under, last = digits, id, groups[i][8]
      end
    end
  end
  return epoch, under, last, names
end

-- The last id that the stream has given; nil if there is no stream.
local function last_id(key)
  local info = redis.pcall('XINFO', 'STREAM', key)
  if info.err then
    if string.find(info.err, 'no such key', 1, true) then
      return nil
    end
    need('xinfo', 'stream', key)
    error(info)
  end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return info[i + 1]
    end
  end
end

-- Opens a new epoch behind the one that was open, of which the group knows `known`. Returns it, and the cut. That is the
-- last id; but if the epoch before had no entry, it is that epoch's cut: whoever stands there has missed nothing.
local function open(key, rule, names, micros, before_epoch, known)
  need('xgroup', 'create', key, 'u', '$')
  need('xgroup', 'destroy', key, 'u')
  need('xsetid', key, '1-0')
  need('pexpire', key, '1')
  local last = last_id(key)
  local epoch = math.max(micros, issued + 1)
  if last then
    local before = tonumber(string.match(last, '^(%d+)-')) or 0
    if before >= MAX_NUMBER - 1 then
      fail('ERR the stream ' .. key .. ' has an id that is not ours')
    end
    epoch = math.max(epoch, before + 1)
  end
  issued = epoch
  local digits = text(epoch)
  local cut = last or '0-0'
  if before_epoch and last == before_epoch .. '-0' and known ~= '0-0' then
    cut = known
  end
  redis.call('XGROUP', 'CREATE', key, 'u:' .. digits .. ':' .. replication, last and cut or '$', 'MKSTREAM')
  redis.call('XSETID', key, digits .. '-0')
  for _, name in ipairs(names or {}) do
    redis.call('XGROUP', 'DESTROY', key, name)
  end
  if not last then
    redis.call('PEXPIRE', key, rule[2])
  end
  return digits, cut
end

-- The open epoch, and the last id that its group knows; opens one if there is none, or if what it was opened under is
-- not what Redis has now.
local function current(key, rule, micros)
  local epoch, under, last, names = open_epoch(key)
  if epoch and (under == replication or not FOLLOWS_REPLICATION) then
    return epoch, last, false
  end
  epoch, last = open(key, rule, names, micros, epoch, last)
  return epoch, last, true
end

-- Whether text is UTF-8. What is valid becomes a blank, so that nothing comes together that was apart.
local function is_utf8(value)
  local rest = value
  for _, pattern in ipairs({
    '[\194-\223][\128-\191]', '\224[\160-\191][\128-\191]', '[\225-\236\238\239][\128-\191][\128-\191]',
    '\237[\128-\159][\128-\191]', '\240[\144-\191][\128-\191][\128-\191]',
    '[\241-\243][\128-\191][\128-\191][\128-\191]', '\244[\128-\143][\128-\191][\128-\191]'
  }) do
    rest = string.gsub(rest, pattern, ' ')
  end
  return not string.find(rest, '[\128-\255]')
end

-- A JSON object of strings, written anew.
local function headers_of(value)
  local ok, headers = pcall(cjson.decode, value)
  if not ok or type(headers) ~= 'table' or not string.find(value, '^%s*{') then
    fail('ERR headers must be a JSON object of strings')
  end
  local entries, bytes = 0, 0
  for name, content in pairs(headers) do
    if type(name) ~= 'string' or type(content) ~= 'string' then
      fail('ERR headers must be a JSON object of strings')
    end
    if not is_utf8(name) or not is_utf8(content) then
      fail('ERR headers must be UTF-8')
    end
    entries = entries + 1
    bytes = bytes + #name + #content
  end
  if entries > MAX_HEADERS or bytes > MAX_HEADER_BYTES then
    fail('ERR there may be ' .. MAX_HEADERS .. ' headers with ' .. MAX_HEADER_BYTES .. ' bytes')
  end
  return cjson.encode(headers)
end

-- The 16 bytes of a session id.
local function session_of(value)
  local bytes, bits, held = {}, 0, 0
  for i = 1, #value do
    local digit = string.find(ALPHABET, string.sub(value, i, i), 1, true)
    if not digit then
      break
    end
    held = held * 64 + digit - 1
    bits = bits + 6
    if bits >= 8 then
      bits = bits - 8
      local unit = 2 ^ bits
      bytes[#bytes + 1] = string.char(math.floor(held / unit))
      held = held % unit
    end
  end
  if #value ~= 22 or #bytes ~= 16 or held ~= 0 then
    fail('ERR exclude must be the id of a session: 22 characters')
  end
  return table.concat(bytes)
end

local function field(tag, value)
  return struct.pack('>BI2', tag, #value) .. value
end

-- The options of a publication, as they stand in args behind the payload.
local function options_of(args)
  local options = {}
  for i = 2, #args, 2 do
    local name, value = args[i], args[i + 1]
    if not value then
      fail('ERR the option ' .. name .. ' has no value')
    end
    if options[name] then
      fail('ERR the option ' .. name .. ' is there twice')
    end
    if name == 'id' or name == 'attempt' then
      if #value < 1 or #value > 128 then
        fail('ERR id must have 1 to 128 bytes')
      end
    elseif name == 'headers' then
      value = headers_of(value)
    elseif name == 'exclude' then
      options.session = session_of(value)
    elseif name == 'type' then
      if not KINDS[value] then
        fail('ERR type must be json, text or binary')
      end
    else
      fail('ERR unknown option ' .. name .. ': there are exclude, headers, id and type')
    end
    options[name] = value
  end
  return options
end

-- Ids that are known, in the hash `ids`: <mark>i:<id> is '<time> <position>', and <mark>#<n> is '<time> <id>', from <mark>#h
-- to before <mark>#t, so that the oldest can be forgotten.
local function known(ids, mark, id, millis, keep)
  local found = redis.call('HMGET', ids, mark .. 'i:' .. id, mark .. '#h', mark .. '#t')
  if found[1] then
    local time, position = string.match(found[1], '^(%d+) (.+)$')
    if time and millis - tonumber(time) < keep then
      return position
    end
  end
  return nil, tonumber(found[2]) or 0, tonumber(found[3]) or 0
end

-- Forgets some of the oldest. Returns which is the oldest now.
local function forget(ids, mark, millis, keep, head, tail)
  local slots = {}
  for n = head, math.min(head + 2 * FORGET_EACH, tail) - 1 do
    slots[#slots + 1] = mark .. '#' .. text(n)
  end
  if #slots == 0 then
    return head
  end
  local entries = redis.call('HMGET', ids, unpack(slots))
  local gone, times, names = {}, {}, {}
  for i = 1, #slots do
    local time, id = string.match(entries[i] or '', '^(%d+) (.*)$')
    if time and math.abs(millis - tonumber(time)) < keep then
      break
    end
    gone[#gone + 1] = slots[i]
    if time then
      times[#times + 1] = time
      names[#names + 1] = mark .. 'i:' .. id
    end
  end
  head = head + #gone
  if #names > 0 then
    local held = redis.call('HMGET', ids, unpack(names))
    for i = 1, #names do
      -- It may have been published anew since.
      if held[i] and string.match(held[i], '^(%d+) ') == times[i] then
        gone[#gone + 1] = names[i]
      end
    end
  end
  if #gone > 0 then
    redis.call('HDEL', ids, unpack(gone))
  end
  return head
end

local function remember(ids, mark, id, millis, keep, position, head, tail)
  if tail % FORGET_EACH == 0 then
    head = forget(ids, mark, millis, keep, head, tail)
    redis.call('HSET', ids, mark .. '#h', text(head))
  end
  local time = text(millis) .. ' '
  redis.call('HSET', ids, mark .. 'i:' .. id, time .. position, mark .. '#' .. text(tail), time .. id,
    mark .. '#t', text(tail + 1))
  redis.call('PEXPIRE', ids, KNOWN)
end

local function answer(position)
  local epoch, offset = string.match(position, '^(%d+)-(%d+)$')
  return { epoch, tonumber(offset) }
end

-- KEYS: the channel's; its ids, if there is an id. ARGS: the payload, options and their values. Returns epoch and offset.
local function publish(keys, args)
  local key, data, ids = keys[1], args[1], keys[2]
  if not key or not data then
    fail('ERR needed are a key and a payload')
  end
  local settings, rule = rules(key)
  local options = #args > 1 and options_of(args) or {}
  local id = options.id or options.attempt
  if id and ids ~= key .. ':ids' then
    fail('ERR with an id the second key must be ' .. key .. ':ids')
  end
  need('xadd', key, '1-1', 'a', 'b')
  need('pexpire', key, '1')
  need(settings.publish, key, '')
  local millis, micros = now()
  local mark, keep, head, tail
  if id then
    need('hset', ids, 'a', 'b')
    need('hdel', ids, 'a')
    need('pexpire', ids, '1')
    mark, keep = '', KNOWN
    if not options.id then
      mark, keep = '~', KNOWN_ATTEMPT
    end
    local first
    first, head, tail = known(ids, mark, id, millis, keep)
    if first then
      return answer(first)
    end
  end
  local epoch, last = current(key, rule, micros)
  -- The group knows no id of its own epoch until this one.
  local is_first = string.sub(last, 1, #epoch + 1) ~= epoch .. '-'
  local cut = is_first and last ~= '0-0' and last
  if is_first then
    need('xgroup', 'setid', key, 'u', '1-1')
  end
  local time = text(millis)
  local position
  if #args == 1 and not cut then
    position = redis.call('XADD', key, 'MAXLEN', '=', rule[1], epoch .. '-*', 'time', time, 'data', data)
  else
    local fields = { 'time', time, 'data', data }
    for _, name in ipairs({ 'type', 'headers', 'exclude' }) do
      if options[name] then
        fields[#fields + 1] = name
        fields[#fields + 1] = options[name]
      end
    end
    if cut then
      fields[#fields + 1] = 'cut'
      fields[#fields + 1] = cut
    end
    position = redis.call('XADD', key, 'MAXLEN', '=', rule[1], epoch .. '-*', unpack(fields))
  end
  local offset = tonumber(string.sub(position, #epoch + 2))
  if is_first then
    redis.call('XGROUP', 'SETID', key, 'u:' .. epoch .. ':' .. replication, position)
  end
  redis.call('PEXPIRE', key, rule[2])
  local envelope = HEAD
  if #args > 1 then
    envelope = envelope .. (KINDS[options.type] or '')
    if options.session then
      envelope = envelope .. field(131, options.session)
    end
    if options.headers then
      envelope = envelope .. field(4, options.headers)
    end
  end
  if cut then
    local cut_epoch, cut_offset = string.match(cut, '^(%d+)-(%d+)$')
    envelope = envelope .. field(135, struct.pack('>I8I8', tonumber(cut_epoch), tonumber(cut_offset)))
  end
  redis.call(settings.publish, key,
    envelope .. struct.pack('>BI2I8BI2I8I8B', 2, 8, millis, 134, 16, tonumber(epoch), offset, 0) .. data)
  if id then
    remember(ids, mark, id, millis, keep, position, head, tail)
  end
  return { epoch, offset }
end

-- KEYS: the channel's. Returns epoch and offset.
local function position(keys)
  local key = keys[1]
  local _, rule = rules(key)
  local _, micros = now()
  local epoch, _, is_new = current(key, rule, micros)
  return answer(is_new and epoch .. '-0' or last_id(key))
end

-- Entries from `from` on, to `to`, at most `limit`, and no more than fit into `bytes`, but for the first. Whether there
-- are others behind them.
local function range(key, command, from, to, limit, bytes)
  local entries, used, step = {}, 0, 1
  while true do
    -- One more than is wanted says whether there are more.
    local part = redis.call(command, key, from, to, 'COUNT', math.min(step, limit + 1 - #entries))
    if #part == 0 then
      return entries, 0
    end
    for _, entry in ipairs(part) do
      local size = 64
      for _, value in ipairs(entry[2]) do
        size = size + #value
      end
      used = used + size
      if #entries >= limit or (used > bytes and #entries > 0) then
        return entries, 1
      end
      entries[#entries + 1] = entry
    end
    from = '(' .. entries[#entries][1]
    step = math.max(1, math.min(512, math.floor((bytes - used) * #entries / used)))
  end
end

-- KEYS: the channel's. ARGS: behind which position, or '' for all; how many entries at most; how many bytes of them; 'r'
-- for the newest first, before that position. Returns the position; the cut, if the epoch has one and no entry yet; the
-- entries; whether there are more; the time; when that position was published, if it is of an older epoch and there.
local function read(keys, args)
  local key = keys[1]
  local _, rule = rules(key)
  local millis, micros = now()
  local limit, bytes = tonumber(args[2]) or 0, tonumber(args[3]) or 0
  if args[1] ~= '' and not string.find(args[1] or '', '^%d+%-%d+$') then
    fail('ERR a position is <epoch>-<offset>')
  end
  local epoch, known_last, is_new = current(key, rule, micros)
  local last = is_new and epoch .. '-0' or last_id(key)
  local cut = ''
  if known_last ~= '0-0' and string.sub(known_last, 1, #epoch + 1) ~= epoch .. '-' then
    cut = known_last
  end
  local entries, more = {}, 0
  if limit > 0 and args[1] ~= last then
    local bound = args[1] ~= '' and '(' .. args[1]
    if args[4] == 'r' then
      entries, more = range(key, 'XREVRANGE', bound or '+', '-', limit, bytes)
    else
      entries, more = range(key, 'XRANGE', bound or '-', '+', limit, bytes)
    end
  elseif limit > 0 and args[4] == 'r' then
    entries, more = range(key, 'XREVRANGE', '(' .. args[1], '-', limit, bytes)
  end
  local since = ''
  if args[1] ~= '' and args[4] ~= 'r' and string.sub(args[1], 1, #epoch + 1) ~= epoch .. '-' then
    local entry = redis.call('XRANGE', key, args[1], args[1])[1]
    for i = 1, entry and #entry[2] or 0, 2 do
      if entry[2][i] == 'time' then
        since = entry[2][i + 1]
      end
    end
  end
  return { last, cut, entries, more, text(millis), since }
end

-- What the functions call, and with what behind the key.
local RIGHTS = {
  { 'xadd', '1-1', 'a', 'b' }, { 'xrange', '-', '+' }, { 'xrevrange', '+', '-' }, { 'xsetid', '1-0' },
  { 'pexpire', '1' }, { 'hmget', 'a' }, { 'hset', 'a', 'b' }, { 'hdel', 'a' }
}

local function missing(key, publish_command)
  for _, right in ipairs(RIGHTS) do
    if not redis.acl_check_cmd(right[1], key, right[2], right[3] or '0', right[4] or '0') then
      return right[1]
    end
  end
  for _, command in ipairs({ 'create', 'destroy', 'setid' }) do
    if not redis.acl_check_cmd('xgroup', command, key, 'u', '0') then
      return 'xgroup|' .. command
    end
  end
  for _, command in ipairs({ 'stream', 'groups' }) do
    if not redis.acl_check_cmd('xinfo', command, key) then
      return 'xinfo|' .. command
    end
  end
  if not redis.acl_check_cmd('time') then
    return 'time'
  end
  if not redis.acl_check_cmd(publish_command, key, '') then
    return publish_command
  end
  return redis.acl_check_cmd('info', 'replication') and '' or 'info'
end

-- KEYS: any channel's. ARGS: the command that publishes. Returns the revision of this library, its options, the first
-- right that the caller lacks, whether this is the master, and the replication id.
local function revision(keys, args)
  local lacks = missing(keys[1], args[1] or 'publish')
  if lacks == 'info' then
    return { REVISION, OPTIONS_TEXT, lacks, 0, '' }
  end
  local info = redis.call('INFO', 'replication')
  return {
    REVISION, OPTIONS_TEXT, lacks, string.find(info, 'role:master', 1, true) and 1 or 0,
    string.match(info, 'master_replid:(%w+)') or ''
  }
end

redis.register_function { function_name = 'ullim_history_revision', callback = revision, flags = { 'no-writes' } }
redis.register_function('ullim_publish', publish)
redis.register_function { function_name = 'ullim_position', callback = position, flags = { 'allow-oom' } }
redis.register_function { function_name = 'ullim_read', callback = read, flags = { 'allow-oom' } }
