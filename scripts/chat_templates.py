"""Renders conversations with `transformers` as reference output for the tests of `bantam-template`.

    python scripts/chat_templates.py > crates/bantam-template/tests/it/references.json     (PyPI: transformers jinja2)

The templates were written for this script. They follow the formats of well-known model families and use the constructs
of published templates. The references are the output of `transformers` 5.23.
"""

import json
import sys

from transformers.utils.chat_template_utils import render_jinja_template

CHATML = """\
{%- set ns = namespace(system='', calls=0) -%}
{%- if messages[0].role == 'system' -%}
    {%- set ns.system = messages[0].content | trim -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set turns = messages -%}
{%- endif -%}
{%- if tools -%}
    {{- '<|im_start|>system\\n' ~ (ns.system + '\\n\\n' if ns.system) ~ '# Tools\\n<tools>' -}}
    {%- for tool in tools -%}
        {{- '\\n' ~ tool | tojson -}}
    {%- endfor -%}
    {{- '\\n</tools><|im_end|>\\n' -}}
{%- elif ns.system -%}
    {{- '<|im_start|>system\\n' + ns.system + '<|im_end|>\\n' -}}
{%- endif -%}
{%- for turn in turns -%}
    {%- if turn.role == 'tool' -%}
        {%- if loop.first or turns[loop.index0 - 1].role != 'tool' -%}
            {{- '<|im_start|>user' -}}
        {%- endif -%}
        {{- '\\n<tool_response>\\n' ~ turn.content ~ '\\n</tool_response>' -}}
        {%- if loop.last or turns[loop.index0 + 1].role != 'tool' -%}
            {{- '<|im_end|>\\n' -}}
        {%- endif -%}
    {%- else -%}
        {%- set text = turn.content if turn.content is string else '' -%}
        {%- if '</think>' in text -%}
            {%- set text = text.split('</think>')[-1].lstrip('\\n') -%}
        {%- endif -%}
        {{- '<|im_start|>' + turn['role'] + '\\n' + text -}}
        {%- for call in turn.tool_calls or [] -%}
            {%- set ns.calls = ns.calls + 1 -%}
            {{- '\\n<tool_call>\\n{"name": "' ~ call.function.name ~ '", "arguments": ' ~ call.function.arguments | tojson ~ '}\\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>\\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
    {%- if enable_thinking is defined and enable_thinking is false -%}
        {{- '<think>\\n\\n</think>\\n\\n' -}}
    {%- endif -%}
{%- endif -%}
"""

HEADERS = """\
{{ bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now('%d %b %Y') %}
{%- endif %}
{%- macro head(role) -%}
<|start_header_id|>{{ role }}<|end_header_id|>

{% endmacro -%}
{{- head('system') }}Today: {{ date_string }}
{% if tools %}
Tools:
{% for tool in tools %}
{{ tool | tojson(indent=4) }}
{% endfor %}
{% endif %}<|eot_id|>
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- head('assistant') }}{% generation %}{{ (message.content or '') | trim }}
        {%- if message.tool_calls is defined %}
            {%- if message.tool_calls | length != 1 %}{{ raise_exception('one tool call at a time') }}{% endif %}
            {%- set call = message.tool_calls[0].function %}
            {{- call.name + '(' }}{% for key, value in call.arguments.items() %}{{ key ~ '=' ~ value | tojson(sort_keys=True) }}{{ ', ' if not loop.last }}{% endfor %}{{ ')' }}
        {%- endif %}<|eot_id|>{% endgeneration %}
    {%- else %}
        {{- head('ipython' if message.role == 'tool' else message.role) }}{{ message.content | trim }}<|eot_id|>
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ head('assistant') }}{% endif %}
"""

TURNS = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\\n\\n' %}{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}
{% for message in rest %}
{% if message['role'] == 'tool' %}{% continue %}{% endif %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) and not tools %}
{{ raise_exception('roles take turns: user, assistant, user, …') }}
{% endif %}
{{ '<start_of_turn>' ~ ('model' if message['role'] == 'assistant' else message['role']) }}
{{ (first if loop.first else '') ~ (message['content'] or '') | trim }}<end_of_turn>
{% endfor %}
{% if add_generation_prompt %}
<start_of_turn>model
{% endif %}
"""

BRACKETS = """\
{%- if messages[0]["role"] == "system" %}{% set system = messages[0]["content"] %}{% set talk = messages[1:] %}{% else %}{% set talk = messages %}{% endif %}
{{- bos_token }}
{%- set users = talk | selectattr("role", "equalto", "user") | list %}
{%- for message in talk %}
    {%- if message["role"] == "user" %}
        {%- if tools and message == users[-1] %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, value in tool.items() if key != "return" %}
                    {%- if value is string %}{{ '"' + key + '": "' + value + '"' }}{% else %}{{ '"' + key + '": ' + value | tojson }}{% endif %}
                    {{- ", " if not loop.last else "}}" }}
                {%- endfor %}
                {{- ", " if not loop.last else "]" }}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {{- "[INST] " + (system + "\\n\\n" if loop.last and system is defined else "") + message["content"] + "[/INST]" }}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for call in message.tool_calls %}
            {%- set out = call.function | tojson %}
            {{- out[:-1] + ', "id": "' + call.id + '"}' }}{{ ", " if not loop.last else "]" + eos_token }}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"].strip() + eos_token }}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content | string + ', "call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("only user, assistant and tool roles are known, not " + message["role"] + "!") }}
    {%- endif %}
{%- endfor %}
"""

PIPES = """\
{% for message in messages %}{% if message.role in ['system', 'user', 'assistant'] and message.content %}{{ '<|' ~ message.role ~ '|>\\n' ~ message.content.replace('\\r\\n', '\\n') ~ '<|end|>\\n' }}{% elif message.role.startswith('tool') %}{{ '<|tool|>' ~ (message.name or 'unnamed') | upper ~ ':' ~ message.content | default('none', true) ~ '<|end|>\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}
"""

TEMPLATES = {"chatml": CHATML, "headers": HEADERS, "turns": TURNS, "brackets": BRACKETS, "pipes": PIPES}

TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Finds an order by its number; <b>fast</b> & \"exact\" – né",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer"}, "exact": {"type": "boolean", "default": True}},
            "required": ["number"],
        },
    },
}
CALL = {"id": "call00001", "type": "function",
        "function": {"name": "find_order", "arguments": {"number": 4711, "exact": False, "share": 0.5}}}
CONVERSATIONS = {
    "one question": dict(messages=[{"role": "user", "content": "  Where is my parcel? 📦\n"}]),
    "a system prompt and turns": dict(messages=[
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "Hi\r\nthere"},
        {"role": "assistant", "content": "<think>greet</think>\n\nHello!  "},
        {"role": "user", "content": "Ünïcode <tags> & \"quotes\""},
    ]),
    "a finished talk": dict(messages=[
        {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"},
    ], add_generation_prompt=False),
    "a call of a tool": dict(messages=[
        {"role": "user", "content": "Order 4711?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call00001", "name": "find_order", "content": "{\"state\": \"sent\"}"},
    ], tools=[TOOL]),
    "a variable": dict(messages=[{"role": "user", "content": "x"}],
                       variables={"enable_thinking": False, "date_string": "1 Jan 2027"}),
    "a role out of turn": dict(messages=[
        {"role": "assistant", "content": "first"}, {"role": "developer", "content": "second"},
    ]),
}


def render(template: str, conversation: dict) -> dict:
    try:
        texts, _ = render_jinja_template(
            conversations=[conversation["messages"]], tools=conversation.get("tools"), chat_template=template,
            add_generation_prompt=conversation.get("add_generation_prompt", True), bos_token="<s>", eos_token="</s>",
            **{"date_string": "21 Nov 2026", **conversation.get("variables", {})})
        return {"text": texts[0]}
    except Exception as error:  # The reference rejects this conversation, so Bantam must reject it too.
        return {"error": str(error)}


def main() -> None:
    cases = [{"template": template, "talk": name, "expected": render(source, conversation)}
             for template, source in TEMPLATES.items() for name, conversation in CONVERSATIONS.items()]
    json.dump({"templates": TEMPLATES, "talks": CONVERSATIONS, "cases": cases}, sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
