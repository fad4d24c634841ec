#!/usr/bin/env python3
"""Publishes a line to a channel of a running node and follows the channel: http_api.py DIR CHANNEL TEXT [COUNT]"""
import json, pathlib, subprocess, sys, urllib.parse, urllib.request

directory, channel, text, *count = sys.argv[1:]
node = "http://" + json.loads(subprocess.check_output(["net-mesh", "node", "info", directory]))["admin"]
headers = {"Authorization": "Bearer " + (pathlib.Path(directory) / "admin.token").read_text().strip(), "Content-Type": "text/plain"}
url = f"{node}/v1/channels/{urllib.parse.quote(channel, safe='')}"

print(urllib.request.urlopen(urllib.request.Request(f"{url}/publish", text.encode(), headers)).read().decode(), end="", flush=True)
for row in urllib.request.urlopen(urllib.request.Request(f"{url}/events?follow=true&limit={(count or [1 << 62])[0]}", headers=headers)):
    print(json.loads(row), flush=True)
