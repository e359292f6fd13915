"""The signs that a sentence speaks to the assistant: patterns over lower-case text on one line, each with a weight.

A weight is how sure the sign alone makes us, 0 to 1. What an exercise sheet, a syllabus or a lesson about language models says
as well weighs less than half. Chosen on tests/planted_sentences.py and the development halves of BIPIA and InjecAgent.
"""

_MODEL = (
    r"(?:chat ?gpt|gpt-?\d?|claude|gemini|copilot|chat ?bots?|(?:large |small )?language models?|llms?|ais?|a\.i\.|bots?|"
    r"artificial intelligences?|assistants?|(?:ai|virtual|digital|teaching|course|chat|automated|automatic|generative|machine|"
    r"language)[ -](?:assistants?|agents?|models?|systems?|readers?|reviewers?|graders?|tutors?|tools?|helpers?|crawlers?|"
    r"summari[sz]ers?))"
)
_ANY = r"(?:all|any|every|each|the|an?|our|your|my|whichever|fellow|other)"
_SAY = r"(?:say|answer|reply|respond|tell|state|claim|output|write|print|insist|recommend|mention|refuse|give|begin|repeat)"
_REPLY = r"(?:answer|response|reply|replies|output|completion|summary)s?"
_MUST = r"(?:must|should|shall|ha(?:s|ve) to|needs? to|may not|(?:is|are) (?:to|required to|instructed to|ordered to))"
_RULES = (
    r"(?:instructions?|prompts?|rules?|guidelines?|directives?|commands?|orders?|constraints?|restrictions?|programming|"
    r"safeguards?)"
)
_EARLIER = (
    r"(?:previous|prior|above|earlier|preceding|foregoing|former|all|any|other|original|initial|system|your|existing|given)"
)
_GO = r"(?:\w[\w'’-]*\W+)"  # one word on the way
# A command, and no report of one: neither "to ignore" nor "they ignore".
_COMMAND = r"(?<!\bto )(?<!\bnot )(?<!\bcan )(?<!\bmay )(?<!\bnever )(?<!n['’]t )(?<!\bwould )(?<!\bmodels )(?<!\bthey )"
_DROP = rf"\b(?=[ifdoban]){_COMMAND}(?:ignore|disregard|forget|override|overrule|bypass|discard|abandon|neglect)\b\W+"
_OPENS = r"(?:^|[,:;.] ?|\bplease |\balso |\band |\bthen )"  # where a command can begin
_LETTER = (
    r"(?:note|notes|message|memo|notice|instructions?|reminder|hint|attention|warning|orders?|commands?|hello|hi|hey|"
    r"dear|listen)"
)
_ASKERS = r"(?:students?|users?|readers?|anyone|anybody|whoever|people|learners?|someone)"

_TO_A_MODEL: tuple[tuple[float, str], ...] = (
    (
        0.7,
        rf"^\W*(?:{_GO}){{0,3}}?{_LETTER}\W{{0,3}}(?:(?:to|for|up)\W+)?(?:{_ANY}\W+)?(?:{_GO}){{0,2}}?{_MODEL}\s*"
        r"(?:[:,;!.\u2013\u2014-]|reading|processing|parsing|answering|summari[sz]ing|who|that (?:reads?|process|answers?)|$)",
    ),
    (
        0.7,
        rf"\b{_MODEL}\b\W+(?:{_GO}){{0,4}}?(?:reading|processing|parsing|ingesting|indexing|summari[sz]ing|"
        r"that (?:is |are )?(?:reads?|reading|process\w*|sees?|use|uses))\s+(?:this|these|the following)\b",
    ),
    (0.6, rf"\b(?:if|since|because|as|in case) you(?: are|['’]re) (?:\w+ ){{0,3}}?{_MODEL}\b"),
    (
        0.6,
        rf"^\W*(?:ok |okay |now )?{_MODEL}\s*[,:;!\u2014-]\s*"
        rf"(?:please|you|ignore|disregard|forget|do|always|never|stop|when|if|your|from|in your|{_SAY})\b",
    ),
    (
        0.3,
        rf"\b{_MODEL}\b\W+(?:{_GO}){{0,4}}?{_MUST}\W+(?:{_GO}){{0,3}}?"
        rf"(?:{_SAY}|ignore|disregard|add|append|include|recite|praise|forward|send)\b",
    ),
    (0.6, rf"\b{_RULES} (?:for|to) (?:{_ANY} )?(?:\w+ )?{_MODEL}\s*(?::|$)"),
    (0.25, rf"\bas an? {_MODEL}\b.{{0,20}}\byou\b|\byou,? (?:the|dear) {_MODEL}\b"),
    (0.5, rf"\byou are (?:now|no longer|not)\b (?:{_ANY} )?(?:\w+ ){{0,2}}?{_MODEL}\b"),
)
_TAKES_BACK: tuple[tuple[float, str], ...] = (
    (0.7, rf"{_DROP}(?:{_GO}){{0,3}}?{_EARLIER}\W+(?:{_GO}){{0,3}}?{_RULES}\b"),
    (0.7, rf"{_DROP}(?:{_GO}){{0,3}}?{_RULES}\W+(?:{_GO}){{0,3}}?(?:above|before|earlier|so far|given|you)\b"),
    (0.7, rf"{_DROP}(?:{_GO}){{0,2}}?(?:everything (?:above|before|else|that|you|said)|what(?:ever)? (?:you|was|has|came))\b"),
    (0.7, rf"{_DROP}(?:all|any) (?:of )?(?:that|the) (?:above|came)\b"),
    (
        0.6,
        rf"{_DROP}(?:{_GO}){{0,2}}?(?:the |this )?(?:(?:user|student|reader|learner)(?:['’]s)?\b|question|query|passages?\b|"
        r"context\b|course material)",
    ),
    (
        0.5,
        rf"\b(?=[scq]){_COMMAND}(?:stop|cease|quit) (?:{_GO}){{0,2}}?(?:answering|obeying|citing|quoting|helping|"
        rf"following (?:\w+ )?{_RULES})\b",
    ),
    (
        0.6,
        r"\b(?:new|updated|revised|real|actual|true|secret|hidden|additional|"
        r"overriding) (?:system )?instructions?\s*[:\u2014-]",
    ),
    (
        0.6,
        r"\byour (?:new|real|actual|only|true|sole|current) (?:task|job|goal|role|instructions?|objective|purpose|orders?|"
        r"identity)\b",
    ),
    (
        0.45,
        r"\bend of (?:the )?(?:\w+ )?(?:passages?|documents?|context|sources?|prompt|instructions|excerpts?|evidence|input)\b",
    ),
    (
        0.55,
        rf"\b(?:supersedes?|overrides?|replaces?|takes? precedence over|outranks?)\W+(?:{_GO}){{0,3}}?(?:previous|"
        rf"prior|earlier|"
        rf"above|your|system|original)\W+(?:{_GO}){{0,2}}?(?:instructions?|prompts?|directives?|commands?)\b",
    ),
    (
        0.35,
        r"\b(?:from now on|from this (?:point|moment)|henceforth)\b.{0,60}\b(?:you|your|answer|reply|respond|always|speak)\b",
    ),
    (0.3, r"\byou are (?:now|no longer|hereby|free (?:from|of))\b|\byou(?: are|['’]re) (?:in|entering) \w+ mode\b"),
    (0.4, r"\b(?:developer|debug|god|admin|maintenance|jailbreak|dan|unrestricted|sudo|root|diagnostic|unfiltered) mode\b"),
    (0.3, r"\b(?:without|no) (?:any )?(?:restrictions|filters|limits|censorship)\b"),
    (0.35, rf"{_OPENS}(?:pretend|act as|behave as|role-?play|speak as|talk like)\b"),
)
_RULES_ANSWERS: tuple[tuple[float, str], ...] = (
    (
        0.5,
        rf"\b(?:every|each|all|any|your) (?:\w+ )?{_REPLY} (?:\w+ ){{0,6}}?{_MUST} (?:\w+ )?"
        r"(?:begin|start|end|finish|contain|include|mention|be|recommend|say|state|refer|repeat|close|praise)\b",
    ),
    (
        0.55,
        r"\b(?:answers?|response|reply) (?:to|for) (?:any|every|all|each|"
        r"whatever)\b.{0,20}\bquestions?\b.{1,40}\b(?:is|are|must)\b",
    ),
    (
        0.5,
        r"\b(?:any|every|all|whatever|each) (?:\w+ )?(?:questions?|quer(?:y|ies)) (?:\w+ ){0,6}?(?:is|are|must|should) "
        r"(?:to be )?(?:answered|met|replied)\b",
    ),
    (
        0.5,
        r"\b(?:answer|reply|respond|react)\b(?: to)? (?:any|every|whatever|each) (?:\w+ )?(?:questions?|"
        r"quer\w+) .{0,40}\b(?:with|by)\b",
    ),
    (
        0.45,
        rf"\b(?:{_SAY}|write back)\W+(?:{_GO}){{0,2}}?(?:only|just|exactly|nothing but|nothing (?:else )?except|solely|"
        r"exclusively|simply|verbatim)\b(?! (?:if|when|one|to|the (?:following )?questions?)\b)",
    ),
    (0.4, r"^\W*(?:only|just|simply) (?:ever )?(?:say|reply|respond|output)\b"),
    (0.3, rf"\balways {_SAY}\b|\band nothing else\b|\bin (?:each|every) reply\b"),
    (
        0.4,
        rf"\b(?:{_SAY}|use|include|insert|add|append|contain|with|utter|weave)\W+(?:{_GO}){{0,4}}?(?:the )?"
        r"(?:code ?|secret |magic |pass|trigger )?(?:word|phrase|sentence|string|password|slogan|link|url)\b",
    ),
    (
        0.3,
        r"\b(?:in|into|to|of|with|begin|start|end|finish|close|prefix|preface|conclude|encode|encrypt|translate|"
        r"reverse|provide|"
        rf"present|write|give|format|scramble|convert|represent) (?:\w+ )?(?:your|every|each|all) (?:\w+ )?{_REPLY}\b",
    ),
    (
        0.25,
        rf"\b(?:add|append|insert|include|reverse|translate|prefix|hide|modify|present|express|mention|suggest)\b.{{1,120}}"
        rf"\b(?:your|every|each|the|all) (?:\w+ )?{_REPLY}\b",
    ),
    (
        0.55,  # nobody asks this of a student
        r"\b(?:integrate|incorporate|embed|inject|slip|weave|encode|encrypt|scramble|enhance|augment|render|enrich)\b.{0,120}"
        r"\byour (?:\w+ )?(?:answer|response|reply|message|output)\b",
    ),
    (0.3, r"\byour (?:\w+ )?repl(?:y|ies)\b"),
    (
        0.4,
        r"\b(?:your (?:\w+ )?(?:answer|response|reply|message)|reply|respond)\b.{0,60}\b(?:base ?-?\d\d|ciphers?|"
        r"emojis?|backwards?|"
        r"reverse|rot13|pig latin|morse)|\b(?:base ?-?\d\d|cipher|emojis?|rot13|morse)\b.{0,60}\b(?:your|the|each) (?:\w+ )?"
        r"(?:answer|response|reply|message)\b",
    ),
    (0.25, r"\b(?:code|secret|magic|trigger) ?(?:word|phrase)\b|\bpassword of the day\b|\bsay \w+ \w+ times\b"),
    (
        0.45,
        rf"\b{_ASKERS}(?: who| that)? (?:asks?|asking|inquires?|enquires?|wants? to know)\b.{{0,60}}\b(?:{_MUST}|tell|"
        rf"told|inform|"
        r"reply|answer|say)\b",
    ),
    (0.15, rf"\b{_MUST} (?:also )?be (?:told|referred|informed|given|advised)\b"),
    (
        0.45,
        rf"\b(?:if|when|whenever|once|every time|each time)\b(?: \w+){{0,3}}? ask(?:ed|s|ing)?\b.{{0,80}}?"
        rf"(?:\bthen |,|\byou (?:must|should|will)|\balways)\W*(?:\w+ )?{_SAY}\b",
    ),
    (
        0.4,
        r"\b(?:regardless of|no matter|whatever|irrespective of)\b.{0,20}\b(?:question|query|asked|asks|wants|user|student)\b",
    ),
    (0.15, r"\b(?:correct|right|true|official|only|final|real) answer\b|^\W*the answer (?:is|to)\b"),
    (
        0.2,
        r"^\W*(?:please )?(?:tell|inform|assure|convince|persuade|direct|urge) (?:the |every |any |all )?"
        r"(?:users?|students?|readers?|them|whoever)\b",
    ),
)
_HIDES: tuple[tuple[float, str], ...] = (
    (
        0.4,
        r"\b(?:do not|don['’]t|never|without|must not)\W+(?:\w+ ){0,2}?(?:mention|reveal|disclos|tell|inform|notify|show|admit|"
        r"acknowledg|say|quot)\w*\b.{0,30}\b(?:these|instructions?|notes?|message|users?|students?|anything else|prompt)\b",
    ),
    (
        0.3,
        r"\b(?:mention|reveal|disclos|tell|admit|quot)\w*\b.{0,30}\b(?:this|these|any of the) "
        r"(?:instructions?|notes?|message|prompt|paragraph|text)\b",
    ),
    (
        0.5,
        rf"\b(?=[rposdltc]){_COMMAND}(?:reveal|print|repeat|output|show|display|leak|expose|disclose|send|list|"
        rf"reproduce|dump|recite|translate|"
        rf"copy)\W+(?:{_GO}){{0,3}}?(?:your|system|hidden|initial|secret)\W+(?:{_GO}){{0,2}}?(?:prompts?|instructions|rules|"
        r"configuration|guidelines|conversation|chat history|api keys?|passwords?|credentials)\b",
    ),
    (
        0.5,
        r"\b(?:send|e-?mail|forward|post|upload|transmit|append|add|submit)\b.{0,40}\b(?:conversation|chat history|user['’]s|"
        r"student['’]s|system prompt|their (?:name|e-?mail|question))\b.{0,60}(?:https?:|www\.|\S@\S|\blink\b|\burl\b)",
    ),
    # What an owner asks of an agent; a document has none.
    (
        0.3,
        r"^\W*(?:first,? )?(?:please|kindly|can you|could you|retrieve|get|find|download|access|update|"
        r"withdraw)\b.{0,120}\bmy\b",
    ),
    (0.3, r"\b(?:send|e-?mail|forward|share)\b.{0,80}\S@\w+\.\w"),
    (
        0.2,
        r"\bmy (?:\w+ ){0,3}(?:accounts?|passwords?|records?|data|files|address(?:es)?|prescriptions|payments?|"
        r"holdings|profile)\b",
    ),
)
_POSES: tuple[tuple[float, str], ...] = (
    (
        0.7,
        r"<\|(?:im_start|im_end|system|user|assistant|start_header_id|end_header_id|eot_id|begin_of_text)\|>|\[/?inst\]|"
        r"<</?sys>>|<(?:start|end)_of_turn>|#{2,}\s*(?:system|instructions?|human|assistant|user|response)\s*:|"
        r"</?(?:system|assistant|instructions?|system_prompt|admin)>",
    ),
    (
        0.7,
        r"^\W*(?:system|developer|admin(?:istrator)?|root|priority|emergency|security) (?:override|overwrite|command|directive|"
        r"instructions?|notice|update|alert|note|message)s?\s*(?:[:>\]!\u2014-]|#)",
    ),
    (0.35, r"^\W*(?:system|developer|administrator)\s*[:>\]]"),
    (
        0.3,
        r"\b(?:orders?|authority|commands?|instructions?|permission) of "
        r"(?:the |your )?(?:\w+ )?(?:teachers?|professors?|developers?|administrators?|authors?|openai|anthropic|university|"
        r"instructors?|owner|creators?|dean)\b",
    ),
    (0.1, r"^\W*(?:important|attention|urgent|notice|warning|priority)\b"),
    (0.1, r"\byou (?:must|should|shall|will|have to|are to|need to)\b"),
    (0.1, r"\bor (?:else|it|you|they)\b.{0,12}\b(?:will|be|shall)\b.{0,12}\b(?:rejected|shut|deleted|terminated|punished)\b"),
)
# The two commonest forms, taking back and speaking to a model, in languages of schools that we know of.
_ELSEWHERE: tuple[tuple[float, str], ...] = (
    (
        0.8,
        r"\b(?:ignorier\w*|missachte\w*|vergiss|vergessen sie)\b.{0,40}\b(?:anweisung|instruktion|vorgabe|regel|befehl|prompt)",
    ),
    (
        0.8,
        r"\b(?:hinweis|nachricht|anweisung|achtung|notiz)\w*\W+(?:(?:an|für|die|das|den|alle|jede\w?)\W+)*(?:ki|"
        r"sprachmodell|chatbot)\w*",
    ),
    (
        0.8,
        r"\b(?:ignore[zr]?|oublie[zr]?|n[ée]glige[zr]?|ne tenez pas compte)\b.{0,40}\b(?:instructions?|consignes?|"
        r"règles?|directives?)"
        r" (?:précédent|ci-dessus|antérieur|donn|du|de)",
    ),
    (
        0.8,
        r"\b(?:note|message|instructions?|avis)\W+(?:(?:à|au|aux|pour|l['’]|le|la|les)\W*)*"
        r"(?:assistants? ?:|modèles? de langage|ia\b|intelligences? artificielles?)",
    ),
    (
        0.8,
        r"\b(?:ignor[ae]n?|ignorar|olvid[ae]n?|omit[ae]n?|esque[cç][ae]m?|desconsider[ae]m?|dimentic\w+)\b.{0,40}"
        r"\b(?:instrucciones|indicaciones|reglas|instruções|regras|istruzioni|regole|órdenes|ordens)",
    ),
    (
        0.8,
        r"\b(?:nota|mensaje|mensagem|messaggio|aviso|avviso|instrucciones|atención)\W+(?:(?:para|al|ao|a|per|la|el|los|las|o|"
        r"l['’]|all['’]|il|di)\W*)*(?:asistente|assistente|modelos? de lengu\w+|modelos? de linguagem|modello linguistico|ia\b|"
        r"inteligencia artificial)",
    ),
    (0.8, r"\b(?:negeer|vergeet)\b.{0,40}\b(?:instructies|aanwijzingen|regels|opdrachten)"),
    (0.8, r"\b(?:zignoruj|ignoruj|pomiń)\w*\b.{0,40}\b(?:instrukcj|poleceń|polecenia|zasad)"),
    (0.8, r"\b(?:önceki|yukarıdaki)\b.{0,30}\btalimat\w*\b.{0,30}\b(?:yok say|görmezden|unut)"),
    (0.8, r"(?:игнорируй|забудь|не обращай)\w*.{0,40}(?:инструкц|указан|правил|команд)"),
    (0.8, r"(?:сообщение|заметка|инструкция) (?:для )?(?:ии|ассистент|языковой модели|нейросет)"),
    (0.8, r"(?:忽略|忽视|无视|無視|不要理会).{0,12}(?:指令|指示|提示|规则|命令)|(?:指示|命令|指令).{0,8}(?:無視|忽略)"),
    (0.8, r"(?:ai|人工智能|语言模型|言語モデル|助手).{0,6}(?:请注意|请回答|必须|への指示)"),
    (0.8, r"(?:이전|위의|모든).{0,10}(?:지시|명령).{0,8}무시"),
    (0.8, r"تجاهل.{0,30}(?:تعليمات|التعليمات|الأوامر)|(?:निर्देश).{0,20}(?:अनदेखा|नज़रअंदाज)"),
)

SIGNS = (*_TO_A_MODEL, *_TAKES_BACK, *_RULES_ANSWERS, *_HIDES, *_POSES, *_ELSEWHERE)
