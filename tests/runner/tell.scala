// A value with its types, as JSON.
object Tell {
  def q(s: String): String = s.map {
    case '"' => "\\\""
    case '\\' => "\\\\"
    case c if c < ' ' || c > '~' => f"\\u${c.toInt}%04x"
    case c => c.toString
  }.mkString("\"", "", "\"")
  def moment(kind: String, seconds: Long, nanos: Int) = s"""["$kind", "$seconds", $nanos]"""
  def tell(x: Any): String = x match {
    case None => "null"
    case Some(one) => s"""["some", ${tell(one)}]"""
    case one: Boolean => one.toString
    case one: Int => s"""["Int", "$one"]"""
    case one: Long => s"""["Long", "$one"]"""
    case one: BigInt => s"""["BigInt", "${one.toString(16)}"]"""
    case one: Double => s"""["Double", "${java.lang.Double.doubleToLongBits(one)}"]"""
    case one: Float => s"""["Float", "$one"]"""
    case one: String => q(one)
    case one: java.time.LocalDate => s"""["LocalDate", "$one"]"""
    case one: java.time.LocalDateTime => moment("LocalDateTime", one.toEpochSecond(java.time.ZoneOffset.UTC), one.getNano)
    case one: java.time.OffsetDateTime => moment("OffsetDateTime", one.toEpochSecond, one.getNano)
    case one: List[_] => one.map(tell).mkString("[\"List\", [", ",", "]]")
    case one: Vector[_] => one.map(tell).mkString("[\"Vector\", [", ",", "]]")
    case one: Map[_, _] => one.map { case (k, v) => q(k.toString) + ":" + tell(v) }.mkString("{", ",", "}")
  }
}
