"""Short texts in many languages, for scripts/compare_filetype.py."""

# A line with === begins a file.
from __future__ import annotations

SOURCES = r"""
=== a.awk
#!/usr/bin/awk -f
BEGIN { FS = ":" }
$3 >= 1000 { count[$7]++ }
END { for (shell in count) print shell, count[shell] }
=== a.asm
section .text
global _start
_start:
    mov rax, 60
    xor rdi, rdi
    syscall
=== a.bat
@echo off
setlocal
if not exist build mkdir build
for %%f in (*.txt) do copy %%f build\
endlocal
=== a.bib
@article{knuth1984,
  author = {Donald E. Knuth},
  title = {Literate Programming},
  journal = {The Computer Journal},
  year = {1984}
}
=== a.clj
(ns hello.core
  (:require [clojure.string :as str]))
(defn greet [name]
  (println (str "Hello, " (str/upper-case name))))
=== a.cpp
#include <iostream>
#include <vector>
int main() {
  std::vector<int> v{1, 2, 3};
  for (auto x : v) std::cout << x << std::endl;
}
=== a.cs
using System;
namespace Hello {
  class Program {
    static void Main(string[] args) { Console.WriteLine("Hello"); }
  }
}
=== a.css
body { margin: 0; font-family: sans-serif; }
.menu > li:hover { color: #f00; background: url(a.png); }
=== a.csv
id,name,price
1,apple,0.5
2,pear,0.75
3,plum,0.2
4,grape,2.25
=== a.dart
import 'dart:io';
void main() {
  final names = <String>['a', 'b'];
  names.forEach((n) => stdout.writeln('Hello $n'));
}
=== a.diff
--- a/main.c
+++ b/main.c
@@ -1,3 +1,3 @@
 int main(void) {
-    return 1;
+    return 0;
 }
=== a.eml
From: a@example.com
To: b@example.com
Subject: Hello
Date: Mon, 1 Jan 2024 10:00:00 +0000
MIME-Version: 1.0
Content-Type: text/plain

Hello there.
=== a.erl
-module(hello).
-export([start/0]).
start() ->
    io:format("Hello~n"),
    lists:map(fun(X) -> X * 2 end, [1, 2, 3]).
=== a.ex
defmodule Hello do
  def greet(name) do
    IO.puts("Hello #{name}")
  end
end
=== a.hs
module Main where
import Data.List (sort)
main :: IO ()
main = mapM_ print (sort [3, 1, 2 :: Int])
=== a.html
<!DOCTYPE html>
<html><head><title>Hello</title></head>
<body><p>Hello <a href='b.html'>there</a></p></body></html>
=== a.ics
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//a//b//EN
BEGIN:VEVENT
UID:1@a
DTSTART:20240101T100000Z
SUMMARY:Meeting
END:VEVENT
END:VCALENDAR
=== a.ini
[server]
host = localhost
port = 8080

[log]
level = debug
file = /var/log/a.log
=== a.java
package hello;
import java.util.List;
public class Hello {
  public static void main(String[] args) {
    System.out.println(List.of("a", "b"));
  }
}
=== a.js
const fs = require('fs');
function read(path) {
  return fs.readFileSync(path, 'utf8').split('\n').map((l) => l.trim());
}
module.exports = { read };
=== a.jsonl
{"id": 1, "text": "first"}
{"id": 2, "text": "second"}
{"id": 3, "text": "third"}
=== a.kt
package hello
data class User(val name: String, val age: Int)
fun main() {
    val users = listOf(User("a", 1))
    users.forEach { println(it.name) }
}
=== a.lua
local M = {}
function M.greet(name)
  if name == nil then return end
  print("Hello " .. name)
end
return M
=== a.m3u
#EXTM3U
#EXTINF:123,Artist - Title
music/a.mp3
#EXTINF:321,Artist - Other
music/b.mp3
=== a.php
<?php
namespace App;
class Hello {
  public function greet(string $name): string { return "Hello $name"; }
}
echo (new Hello())->greet($_GET['name']);
=== a.pl
#!/usr/bin/perl
use strict;
use warnings;
my %count;
while (my $line = <STDIN>) {
  $count{$_}++ for split /\s+/, $line;
}
print "$_ $count{$_}\n" for sort keys %count;
=== a.po
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"

#: main.c:10
msgid "Hello"
msgstr "Hallo"
=== a.proto
syntax = "proto3";
package hello;
message Request {
  string name = 1;
  repeated int32 ids = 2;
}
service Hello { rpc Greet(Request) returns (Request); }
=== a.ps
%!PS-Adobe-3.0
%%BoundingBox: 0 0 100 100
/Helvetica findfont 12 scalefont setfont
10 10 moveto (Hello) show
showpage
%%EOF
=== a.ps1
param([string]$Path)
Get-ChildItem -Path $Path -Recurse | Where-Object { $_.Length -gt 1MB } | ForEach-Object { Write-Host $_.FullName }
=== a.r
library(stats)
x <- c(1, 2, 3)
y <- x * 2 + rnorm(3)
model <- lm(y ~ x)
print(summary(model))
plot(x, y)
=== a.rb
require 'json'
class Greeter
  attr_reader :name
  def initialize(name)
    @name = name
  end
  def greet = puts("Hello #{@name}")
end
Greeter.new('a').greet
=== a.rs
use std::collections::HashMap;
fn main() {
    let mut map: HashMap<&str, i32> = HashMap::new();
    map.insert("a", 1);
    println!("{:?}", map);
}
=== a.rst
Title
=====

.. code-block:: python

   import os

See :ref:`other` and :doc:`/index`.

.. toctree::
   :maxdepth: 2

   first
   second
=== a.rtf
{\rtf1\ansi\deff0{\fonttbl{\f0 Times New Roman;}}\f0\fs24 Hello \b there\b0.\par}
=== a.scala
package hello
object Main extends App {
  case class User(name: String)
  val users = List(User("a"))
  users.map(_.name).foreach(println)
}
=== a.sql
CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(80) NOT NULL);
INSERT INTO users VALUES (1, 'a');
SELECT name FROM users WHERE id > 0 ORDER BY name;
=== a.srt
1
00:00:01,000 --> 00:00:02,500
Hello.

2
00:00:03,000 --> 00:00:04,000
Goodbye.
=== a.svg
<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><circle cx="5" cy="5" r="4" fill="red"/></svg>
=== a.swift
import Foundation
struct User: Codable {
    let name: String
}
let users = [User(name: "a")]
for user in users { print("Hello \(user.name)") }
=== a.tex
\documentclass{article}
\usepackage{amsmath}
\begin{document}
\section{Hello}
$a^2 + b^2 = c^2$
\end{document}
=== a.tsv
id	name	price
1	apple	0.5
2	pear	0.75
3	plum	0.2
=== a.ts
interface User { name: string; age?: number }
export class Store<T extends User> {
  private items: T[] = [];
  add(item: T): void { this.items.push(item); }
}
=== a.vhdl
library ieee;
use ieee.std_logic_1164.all;
entity gate is
  port (a, b : in std_logic; y : out std_logic);
end gate;
architecture rtl of gate is
begin
  y <= a and b;
end rtl;
=== a.vtt
WEBVTT

00:01.000 --> 00:02.500
Hello.

00:03.000 --> 00:04.000
Goodbye.
=== a.xml
<?xml version="1.0" encoding="UTF-8"?>
<catalog><book id="1"><title>Hello</title></book><book id="2"/></catalog>
=== a.yaml
version: 2
services:
  web:
    image: nginx
    ports:
      - 80:80
    environment:
      LEVEL: debug
=== a.zig
const std = @import("std");
pub fn main() !void {
    const out = std.io.getStdOut().writer();
    try out.print("Hello {s}\n", .{"a"});
}
=== CMakeLists.txt
cmake_minimum_required(VERSION 3.10)
project(hello C)
add_executable(hello main.c)
target_link_libraries(hello PRIVATE m)
=== Dockerfile
FROM debian:12
RUN apt-get update && apt-get install -y gcc
WORKDIR /src
COPY . .
CMD ["./run"]
=== words
It was late when they came home, and nobody had lit a fire. She put the letters on the table and said nothing.
"""

WITH_CRLF = ["a.bat", "a.eml", "a.ics"]


def texts() -> dict[str, bytes]:
    """The files' names and contents."""
    files = {}
    for part in SOURCES.split("=== ")[1:]:
        name, text = part.split("\n", 1)
        files[name] = text.replace("\n", "\r\n" if name in WITH_CRLF else "\n").encode()
    return files
