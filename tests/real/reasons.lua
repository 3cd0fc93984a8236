-- Counts by their reason word what rondel answered itself, for wrk.py: one line "reason WORD COUNT" for each.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  counts = {}
end

function response(status, _, body)
  if status >= 400 then
    local word = body:match("^%d+ [^:]*: ([%w-]+)\n") or "none"
    counts[word] = (counts[word] or 0) + 1
  end
end

function done()
  for _, thread in ipairs(threads) do
    for word, count in pairs(thread:get("counts")) do
      print("reason " .. word .. " " .. count)
    end
  end
end
