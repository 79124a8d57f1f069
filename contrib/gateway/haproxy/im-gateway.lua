-- The action im-gateway asks `issuer gateway` whether a request is allowed: http-request lua.im-gateway URL. If so, it sets the
-- identity of the caller in the headers of the request, and txn.im_allowed; otherwise it answers the client, if the gateway knows.

-- lines returns all lines of a header.
local function lines(headers, name)
	local list = {}
	for i = 0, #(headers[name] or {}) do -- from 0
		local line = headers[name] and headers[name][i]
		if line then list[#list + 1] = line end
	end
	return list
end

-- target returns the request target as the client sent it. In HTTP/2 HAProxy makes an absolute one of :authority and :path.
local function target(txn)
	local path = txn.sf:pathq()
	if tonumber(txn.sf:req_ver()) >= 2 and path ~= "" then return path end
	return txn.sf:url()
end

local function ask(txn, url)
	local headers = txn.http:req_get_headers()
	local answer = core.httpclient():get{url = url, timeout = 7000, headers = {
		["authorization"] = lines(headers, "authorization"),
		["dpop"] = lines(headers, "dpop"),
		["x-forwarded-method"] = {txn.sf:method()},
		["x-forwarded-uri"] = {target(txn)},
		["x-forwarded-proto"] = {"https"},
		["x-forwarded-host"] = lines(headers, "host"),
		["x-forwarded-for"] = {txn.sf:src()},
	}}
	local nonce = lines(answer.headers or {}, "dpop-nonce")[1]
	if answer.status == 200 then
		for name in pairs(answer.headers) do
			local value = lines(answer.headers, name)[1]
			if name:find("^x%-im%-") and value ~= "" then txn.http:req_set_header(name, value) end
		end
		if nonce then txn:set_var("txn.im_nonce", nonce) end
		txn:set_var("txn.im_allowed", true)
		return
	end
	-- Without Retry-After it is an answer of HAProxy, which could not reach the gateway.
	local unknown = answer.status == 503 and lines(answer.headers, "retry-after")[1]
	if answer.status ~= 401 and answer.status ~= 403 and not unknown then return end
	local reply = txn:reply{status = answer.status, body = answer.body}
	for _, name in ipairs{"content-type", "www-authenticate", "dpop-nonce", "retry-after", "cache-control", "x-request-id"} do
		for _, line in ipairs(lines(answer.headers, name)) do reply:add_header(name, line) end
	end
	txn:done(reply)
end

core.register_action("im-gateway", {"http-req"}, ask, 1)
